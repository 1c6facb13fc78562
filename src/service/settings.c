#include "service/settings.h"

int settings_load(const char *path, struct config **ret_config, struct connector_set **ret_connectors,
                  struct buf *problems)
{
    struct config_problems found = {0};
    struct config *config = NULL;
    int st = config_load(path, &config, &found);

    if (st == ST_OK) {
        st = connector_set_load(config, ret_connectors, &found);
    }
    if (st == ST_OK) {
        *ret_config = config;
        config = NULL;
    } else {
        config_problems_sort(&found);
        config_problems_print(&found, problems);
    }
    config_unref(config);
    config_problems_clear(&found);
    return st;
}
