/* conf/connectors/icims.jq against the cases in icims.json. */
#include "table.h"

int main(void)
{
    return table_run("tests/unit/connector/icims.json");
}
