#include "service/settings.h"

static int load(const char *path, const struct config *before, struct config **ret_config,
                struct connector_set **ret_connectors, struct buf *problems, struct buf *kept)
{
    struct config_problems found = {0};
    struct config *config = NULL;
    struct connector_set *connectors = NULL;
    int st = config_load_partly(path, &config, &found);

    if (st == ST_OK && before) {
        config_keep_fixed(config, before, kept);
    }
    if (config) { /* with what could be read, so that all problems are told in one go */
        int fits = connector_set_load(config, &connectors, &found);

        st = st == ST_OK ? fits : st;
    }
    if (st == ST_OK) {
        *ret_connectors = connectors;
        connectors = NULL;
        *ret_config = config;
        config = NULL;
    } else {
        config_problems_sort(&found);
        config_problems_print(&found, problems);
    }
    connector_set_unref(connectors);
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
