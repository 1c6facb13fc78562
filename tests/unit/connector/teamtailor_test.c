/* conf/connectors/teamtailor.jq against the cases in teamtailor.json. */
#include "table.h"

int main(void)
{
    return table_run("tests/unit/connector/teamtailor.json");
}
