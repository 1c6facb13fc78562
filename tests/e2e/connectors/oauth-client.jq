# oauth-client - client credentials.

def meta: {
  name: "oauth-client",
  title: "oauth-client",
  base_url: null,
  settings: {auth_url: {help: "where tokens come from"}},
  credentials: {
    client_id: {help: "of the client"},
    client_secret: {help: "likewise"},
    refresh_token: {required: false, help: "the first one"}
  },
  auth: {
    kind: "oauth2_client_credentials",
    token_url: "{auth_url}/token",
    client_id: "{client_id}",
    client_secret: "{client_secret}",
    form: {scope: "notes"}
  },
  rate: null,
  capabilities: {note: {}}
};

def note: {request: {method: "POST", path: ["candidates", .candidate.id, "notes"], body: {body: .write.text}}};
