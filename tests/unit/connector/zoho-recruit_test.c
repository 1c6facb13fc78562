/* conf/connectors/zoho-recruit.jq against the cases in zoho-recruit.json. */
#include "table.h"

int main(void)
{
    return table_run("tests/unit/connector/zoho-recruit.json");
}
