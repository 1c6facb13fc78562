/* conf/connectors/recruitee.jq against the cases in recruitee.json. */
#include "table.h"

int main(void)
{
    return table_run("tests/unit/connector/recruitee.json");
}
