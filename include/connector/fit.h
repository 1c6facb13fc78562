/*
 * fit - does a configuration fit the modules that it names? The checks behind connector_set_load(); everybody else
 * calls that.
 *
 * Adds problems with file, line and path of the key; never stops at the first. Thread: pure.
 */
#ifndef ATSYNC_CONNECTOR_FIT_H
#define ATSYNC_CONNECTOR_FIT_H

#include "config/config.h"
#include "connector/module.h"

/* Settings, credentials and base_url of one connector. */
void fit_connector(const struct config *c, const struct connector_config *connector, const struct connector_module *m,
                   struct config_problems *problems);
/* What one workflow wants its connector to do. */
void fit_workflow(const struct config *c, const struct workflow_map *w, const struct connector_module *m,
                  struct config_problems *problems);

#endif
