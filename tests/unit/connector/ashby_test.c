/* conf/connectors/ashby.jq against the cases in ashby.json. */
#include "table.h"

int main(void)
{
    return table_run("tests/unit/connector/ashby.json");
}
