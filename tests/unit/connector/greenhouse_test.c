/* conf/connectors/greenhouse.jq against the cases in greenhouse.json. */
#include "table.h"

int main(void)
{
    return table_run("tests/unit/connector/greenhouse.json");
}
