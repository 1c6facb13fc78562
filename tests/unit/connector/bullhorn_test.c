/* conf/connectors/bullhorn.jq against the cases in bullhorn.json. */
#include "table.h"

int main(void)
{
    return table_run("tests/unit/connector/bullhorn.json");
}
