# two-step - an ATS whose record is to be touched after each note.

def meta: {
  name: "two-step",
  title: "two-step",
  base_url: null,
  credentials: {token: {help: "of the sandbox"}},
  auth: {kind: "header", name: "Authorization", value: "Bearer {token}"},
  rate: null,
  capabilities: {note: {max_chars: 10000, find_marker: true, shown_as: "text"}}
};

def candidate: ["candidates", .candidate.id];

def note:
  if .got.made == null
  then {lookup: "made", write: true,
        request: {method: "POST", path: (candidate + ["notes"]), body: {body: .write.text, marker: .write.marker}}}
  else {request: {method: "PATCH", path: candidate, body: {fields: {noted: "yes"}}}}
  end;

def find_marker:
  if .got.notes == null
  then {lookup: "notes", request: {method: "GET", path: (candidate + ["notes"])}}
  else .write.marker as $marker | {found: any(.got.notes.body[]; .marker == $marker)}
  end;
