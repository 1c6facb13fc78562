# oauth-keep - as oauth-refresh, of an ATS where a token that is not used dies.

def meta: {
  name: "oauth-keep",
  title: "oauth-keep",
  base_url: null,
  settings: {auth_url: {help: "where tokens come from"}},
  credentials: {
    client_id: {help: "of the client"},
    client_secret: {help: "likewise"},
    refresh_token: {required: false, help: "the first one"}
  },
  auth: {
    kind: "oauth2_refresh_token",
    token_url: "{auth_url}/token",
    client_auth: "body",
    client_id: "{client_id}",
    client_secret: "{client_secret}",
    refresh_token: "{refresh_token}",
    keep_alive_ms: 400
  },
  rate: null,
  capabilities: {note: {}}
};

def note: {request: {method: "POST", path: ["candidates", .candidate.id, "notes"], body: {body: .write.text}}};
