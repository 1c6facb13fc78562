/* conf/connectors/smartrecruiters.jq against the cases in smartrecruiters.json. */
#include "table.h"

int main(void)
{
    return table_run("tests/unit/connector/smartrecruiters.json");
}
