# oauth-refresh - a refresh token that is another one after each use, and a base URL that comes with the token.

def meta: {
  name: "oauth-refresh",
  title: "oauth-refresh",
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
    client_id: "{client_id}",
    client_secret: "{client_secret}",
    refresh_token: "{refresh_token}",
    captures: {api: "/api"},
    base_url: "{api}"
  },
  rate: null,
  capabilities: {note: {}}
};

def note: {request: {method: "POST", path: ["candidates", .candidate.id, "notes"], body: {body: .write.text}}};
