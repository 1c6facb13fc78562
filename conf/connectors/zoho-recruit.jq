# zoho-recruit - Zoho Recruit, API v2.
#
# Base URL   https://recruit.zoho.{dc}/recruit/v2; dc: com, eu, in, com.au, com.cn, jp, where the account is.
# Auth       OAuth2 with a refresh token of the same data centre (https://accounts.zoho.{dc}/oauth/v2/token), which does not
#            change; header Authorization: Zoho-oauthtoken TOKEN.
# Ids        the candidate's external id is the record id of the candidate, `job` the record id of the job opening. There is
#            no application to look up: a status belongs to the pair, which stands in the body.
# Limits     credits a day by edition, not published for Recruit.
# Sources    certain (zoho.com/recruit/developer-guide/apiv2: change-status, update-records, add-tags, get-related-records,
#            get-associated-records): paths, bodies, the shape of answers, their codes.
#            By analogy with Zoho CRM v2, whose API this is a branch of: POST of a note below its record.
# Traps      - 200 and 202 may carry failures: data[].status, and for statuses data[][].status.
#            - 204 with no body is an empty list.
#            - 401 OAUTH_SCOPE_MISMATCH is no expired token: it would not help to get a new one.
#            - Tags go into the query, separated by commas, so a tag cannot have one.

def meta: {
  name: "zoho-recruit",
  title: "Zoho Recruit",
  base_url: "https://recruit.zoho.{dc}/recruit/v2",
  settings: {
    dc: {default: "com", pattern: "com|eu|in|com\\.au|com\\.cn|jp",
      help: "the end of your Zoho address: com, eu, in, com.au, com.cn or jp"},
    reject_status: {default: "Rejected", help: "the candidate status that a rejection sets; the reason becomes its comment"},
    note_title: {default: "Popp screening", help: "the title of notes"}
  },
  credentials: {
    client_id: {help: "of a client made in the Zoho API console (Self Client or Server-based)"},
    client_secret: {help: "of the same client"},
    refresh_token: {help: "made once with the scopes ZohoRecruit.modules.ALL and ZohoRecruit.settings.tags.ALL, access_type offline"}
  },
  auth: {
    kind: "oauth2_refresh_token",
    token_url: "https://accounts.zoho.{dc}/oauth/v2/token",
    client_auth: "body",
    client_id: "{client_id}",
    client_secret: "{client_secret}",
    refresh_token: "{refresh_token}",
    name: "Authorization",
    value: "Zoho-oauthtoken {access_token}"
  },
  rate: {count: 5, per_ms: 1000},
  concurrency: 5,
  timeout_ms: 60000,
  throttle_ms: 60000,
  classify: true,
  probe: true,
  capabilities: {
    stage: {needs_job: true, only_from: true},
    reject: {needs_job: true},
    fields: {batch: true},
    tags: {batch: true, pattern: "[^,]+"},
    note: {max_chars: 30000, find_marker: true}
  },
  notes: [
    "Candidate and job ids are the long record numbers that stand in the addresses of Zoho Recruit, not the short ones such as ZR_12_CAND.",
    "Stages are candidate statuses, written as Zoho shows them. A rejection sets the status of the setting reject_status, with the reason as its comment.",
    "Fields are named by their API names (Setup, Developer Space, APIs).",
    "only_from asks Zoho which candidates of the job have these statuses, up to 2,000 of them; it cannot tell a candidate in no stage of the job.",
    "Zoho Recruit has no place for assessment results in this API: write a field or a note.",
    "Changing a status may run Zoho's workflow rules, which may send e-mail to the candidate; none is asked for.",
    "unverified: POST of a note below its candidate (documented for Zoho CRM), the greatest length of a note, tags of a candidate when several are added at once, and the daily limits."
  ]
};

def of_candidate: ["Candidates", .candidate.id];

def is_id: type == "string" and test("\\A[0-9]+\\z");

def with_candidate(f):
  if (.candidate.id | is_id | not) then
    {fail: "invalid", message: "the candidate's external id is not a record id of Zoho Recruit: those are long numbers"}
  else f
  end;

def with_job(f):
  with_candidate(
    if (.job | is_id | not) then
      {fail: "configuration", message: "job \"\(.job)\" is not a record id of Zoho Recruit: those are long numbers"}
    else f
    end);

# ---- stage, reject

def set_status($status; $more):
  {request: {method: "PUT", path: ["Candidates", "status"],
             body: {data: [{ids: [.candidate.id], jobids: [.job], Candidate_Status: $status} + $more]}}};

# Pages of the job's candidates with one of these statuses, 10 at most. 204 is an empty list.
def ask_associated($name; $statuses):
  (.got[$name] // []) as $pages
  | if $pages == [] or ($pages[-1].body.info.more_records == true and ($pages | length) < 10) then
      {lookup: $name, append: true, list: ["data"],
       request: {method: "GET", path: ["JobOpenings", .job, "associate"],
                 query: {candidate_statuses: ($statuses | join(",")), page: (($pages | length) + 1), per_page: 200}}}
    else null
    end;

def is_among($name): .candidate.id as $id | any(.got[$name][]? | .body.data[]?; (.id | tostring) == $id);
def is_cut($name): (.got[$name] // []) as $pages | ($pages | length) == 10 and $pages[-1].body.info.more_records == true;

def guarded_move($from):
  .write.stage as $wanted
  | if is_among("movable") then set_status($wanted; {})
    elif ask_associated("movable"; $from) != null then ask_associated("movable"; $from)
    elif is_among("there") then {already: true}
    elif ask_associated("there"; [$wanted]) != null then ask_associated("there"; [$wanted])
    elif is_cut("movable") or is_cut("there") then
      {fail: "configuration", message: "job \(.job) has over 2,000 candidates in these stages, too many to look for one: leave out only_from"}
    else {skip: "the candidate is in another stage, the mapping moves only from: \($from | join(", "))"}
    end;

def stage: with_job(
  (.write.only_from // []) as $only
  | ($only - ["none"]) as $from
  | if ($only | length) == 0 then set_status(.write.stage; {})
    elif ($from | length) == 0 then
      {fail: "configuration", message: "Zoho Recruit cannot tell which candidates are in no stage of a job: only_from needs another stage than none"}
    else guarded_move($from)
    end);

def reject: with_job(set_status(.settings.reject_status; {comments: .write.reason}));

# ---- fields, tags

def fields: with_candidate({request: {method: "PUT", path: of_candidate, body: {data: [.write.fields]}}});

# Adds to those that are there.
def tags:
  with_candidate(
    {request: {method: "POST", path: (of_candidate + ["actions", "add_tags"]),
               query: {tag_names: (.write.tags | join(","))}}});

# ---- notes

def notes_of_candidate: of_candidate + ["Notes"];

def note:
  with_candidate(
    {request: {method: "POST", path: notes_of_candidate,
               body: {data: [{Note_Title: .settings.note_title, Note_Content: .write.text}]}}});

# Newest first, 5 pages at most.
def find_marker: with_candidate(
  (.got.notes // []) as $pages
  | .write.marker as $marker
  | if any($pages[] | .body.data[]?; .Note_Content | type == "string" and contains("[" + $marker + "]")) then {found: true}
    elif $pages == [] or ($pages[-1].body.info.more_records == true and ($pages | length) < 5) then
      {lookup: "notes", append: true, list: ["data"],
       request: {method: "GET", path: notes_of_candidate,
                 query: {sort_by: "Created_Time", sort_order: "desc", page: (($pages | length) + 1), per_page: 200}}}
    else {found: false}
    end);

# ---- probe

def probe:
  if .got.candidates != null then {already: true}
  else {lookup: "candidates", request: {method: "GET", path: ["Candidates"], query: {fields: "id", per_page: 1}}}
  end;

# ---- what an answer means

# Records of an answer, each {code, message, status}: data is a list, for statuses a list of lists; or the body is one itself.
def records:
  if (.body | type) != "object" then []
  elif (.body.data | type) == "array" then [.body.data | flatten[] | select(type == "object" and .code != null and .status != null)]
  elif .body.code != null then [.body]
  else []
  end;

def meanings: {
  INVALID_TOKEN: ["reauth", "credentials"],
  AUTHENTICATION_FAILURE: ["reauth", "credentials"],
  OAUTH_SCOPE_MISMATCH: ["config", "permission"],
  AUTHORIZATION_FAILED: ["config", "permission"],
  NO_PERMISSION: ["config", "permission"],
  TOO_MANY_REQUESTS: ["throttled", "rate_limited"],
  LIMIT_EXCEEDED: ["throttled", "rate_limited"],
  RECORD_LOCKED: ["retry", "unavailable"],
  INTERNAL_ERROR: ["retry", "unavailable"],
  ID_ALREADY_DELETED: ["not_found", "not_found"],
  INVALID_URL_PATTERN: ["config", "configuration"],
  INVALID_MODULE: ["config", "configuration"],
  INVALID_REQUEST_METHOD: ["config", "configuration"]
};

# "INVALID_DATA: invalid data (Notice_Period)"
def words:
  "\(.code): \(.message // "no reason was given")"
  + (if (.details | type) == "object" and .details.api_name != null then " (\(.details.api_name))" else "" end);

def classify:
  .status as $status
  | .request as $request
  | first((records[] | select(.code != "SUCCESS" and (.status | tostring | ascii_downcase) != "success")), null) as $bad
  | if $bad == null then null
    else
      (meanings[$bad.code] // (if $status == 404 then ["not_found", "not_found"]
                               elif $status == 429 then ["throttled", "rate_limited"]
                               elif $status >= 500 then ["retry", "unavailable"]
                               else ["invalid", "invalid"]
                               end)) as $meaning
      # a server that failed may have failed after it wrote the note
      | {outcome: (if $meaning[0] == "retry" and $status >= 500 and $request.verb == "note" and $request.is_write
                   then "uncertain" else $meaning[0] end),
         class: $meaning[1],
         message: ($bad | words)}
    end;
