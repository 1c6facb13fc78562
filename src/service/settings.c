#include "service/settings.h"

static int load(const char *path, const struct config *before, struct config **ret_config,
                struct connector_set **ret_connectors, struct buf *problems, struct buf *kept)
{
    struct config_problems found = {0};
    struct config *config = NULL;
    int st = config_load(path, &config, &found);

    if (st == ST_OK && before) {
        config_keep_fixed(config, before, kept);
    }
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

int settings_load(const char *path, struct config **ret_config, struct connector_set **ret_connectors,
                  struct buf *problems)
{
    return load(path, NULL, ret_config, ret_connectors, problems, NULL);
}

int settings_load_again(const char *path, const struct config *before, struct config **ret_config,
                        struct connector_set **ret_connectors, struct buf *problems, struct buf *kept)
{
    return load(path, before, ret_config, ret_connectors, problems, kept);
}
