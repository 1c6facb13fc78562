/* conf/connectors/jobadder.jq against the cases in jobadder.json. */
#include "table.h"

int main(void)
{
    return table_run("tests/unit/connector/jobadder.json");
}
