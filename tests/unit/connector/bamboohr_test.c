/* conf/connectors/bamboohr.jq against the cases in bamboohr.json. */
#include "table.h"

int main(void)
{
    return table_run("tests/unit/connector/bamboohr.json");
}
