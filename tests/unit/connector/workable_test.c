/* conf/connectors/workable.jq against the cases in workable.json. */
#include "table.h"

int main(void)
{
    return table_run("tests/unit/connector/workable.json");
}
