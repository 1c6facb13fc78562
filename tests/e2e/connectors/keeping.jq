# keeping - an ATS whose notes need an id that is looked up once and kept.

def meta: {
  name: "keeping",
  title: "keeping",
  base_url: null,
  credentials: {token: {help: "of the sandbox"}},
  auth: {kind: "header", name: "Authorization", value: "Bearer {token}"},
  rate: null,
  capabilities: {note: {max_chars: 10000, find_marker: true, shown_as: "text"}}
};

def notes: ["candidates", .candidate.id, "notes"];

def note:
  if .got.writer == null
  then {lookup: "writer", cache: "15m", expect: [404], request: {method: "GET", path: ["candidates", "writer", "notes"]}}
  else {request: {method: "POST", path: notes, body: {body: .write.text, marker: .write.marker}}}
  end;

def find_marker:
  if .got.notes == null
  then {lookup: "notes", request: {method: "GET", path: notes}}
  else .write.marker as $marker | {found: any(.got.notes.body[]; .marker == $marker)}
  end;
