/* conf/connectors/merge.jq against the cases in merge.json. */
#include "table.h"

int main(void)
{
    return table_run("tests/unit/connector/merge.json");
}
