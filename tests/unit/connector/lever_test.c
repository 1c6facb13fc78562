/* conf/connectors/lever.jq against the cases in lever.json. */
#include "table.h"

int main(void)
{
    return table_run("tests/unit/connector/lever.json");
}
