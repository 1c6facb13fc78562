/* conf/connectors/kombo.jq against the cases in kombo.json. */
#include "table.h"

int main(void)
{
    return table_run("tests/unit/connector/kombo.json");
}
