# bamboohr - BambooHR's applicant tracking.
#
# Base URL   https://{company}.bamboohr.com/api/v1, one host for each customer. An older gateway,
#            https://api.bamboohr.com/api/gateway.php/{company}/v1, can be given as base_url.
# Auth       Basic: the API key as user name, any password. OAuth2 does not reach the writes used here. The key's owner
#            needs access to the settings of applicant tracking.
# Ids        the candidate's external id is the application's id: BambooHR's API knows no other way to write. With
#            candidate_id: applicant it is the applicant's id, and the application on `job` is looked up.
# Limits     not published; 429 and 503, with Retry-After or without.
# Sources    certain (the vendor's OpenAPI document in BambooHR/bhr-api-php): all paths, bodies and errors here.
#            Not the vendor's own words: the older gateway.
# Traps      - A status is a number in a move, but a text in the list of statuses.
#            - 400 on a move is a page for people: the reason is in the header x-bamboohr-error-message.
#            - 200 may carry {"error": {"code": 429}} when BambooHR wants us to wait.
#            - Answers are XML unless JSON is asked for.
#            - Rejection is a status like any other. Comments cannot be listed. No tags, no fields of an application.

def meta: {
  name: "bamboohr",
  title: "BambooHR applicant tracking",
  base_url: "https://{company}.bamboohr.com/api/v1",
  settings: {
    company: {pattern: "[A-Za-z0-9][A-Za-z0-9-]{0,62}",
      help: "the first part of your BambooHR address: acme if it is https://acme.bamboohr.com"},
    candidate_id: {default: "application", pattern: "application|applicant",
      help: "what the candidate's external id is: application, the number of the job application, or applicant, the number of the person"}
  },
  credentials: {
    api_key: {help: "made in BambooHR: your name, API Keys; its owner needs access to the settings of applicant tracking"}
  },
  auth: {kind: "basic", username: "{api_key}", password: "x"},
  headers: {Accept: "application/json"},
  rate: {count: 5, per_ms: 1000},
  concurrency: 2,
  timeout_ms: 60000,
  throttle_ms: 30000,
  classify: true,
  probe: true,
  capabilities: {
    stage: {only_from: true},
    reject: {},
    note: {max_chars: 10000}
  },
  notes: [
    "The candidate's external id is BambooHR's application number. With candidate_id: applicant it is the applicant's number, and the workflow must name a job.",
    "Stages and rejection reasons are both statuses: names as Hiring, Settings, Candidate Statuses shows them, or their numbers.",
    "BambooHR has no tags and no fields on applications: what should be kept goes into a note, which becomes a comment.",
    "Comments cannot be listed, so a comment that is written again after a lost connection may be there twice.",
    "BambooHR may send its own e-mail to the candidate when a status is set, if a rule there says so; none is asked for.",
    "unverified: rate limits (not published; 5 requests a second is assumed) and the greatest length of a comment."
  ]
};

# ---- the application

def applications: ["applicant_tracking", "applications"];

# Pages of the job's applications, 20 at most.
def ask_applications:
  (.got.applications // []) as $pages
  | if $pages == [] or (($pages[-1].body.paginationComplete == false) and ($pages | length) < 20) then
      {lookup: "applications", append: true, list: ["applications"],
       request: {method: "GET", path: applications, query: {page: (($pages | length) + 1), jobId: .job}}}
    else null
    end;

# The applicant's newest application on the job; null.
def found_application:
  .candidate.id as $person
  | .job as $job
  | [.got.applications[]? | .body.applications[]?
     | select((.applicant.id | tostring) == $person and (.job.id | tostring) == $job)]
  | max_by(.id);

# f sees the context with .application, the application's id.
def with_application(f):
  if .settings.candidate_id == "application" then (. + {application: .candidate.id}) | f
  elif .job == null then
    {fail: "configuration", message: "with candidate_id: applicant the workflow must name a job"}
  elif found_application != null then (. + {application: found_application.id}) | f
  elif ask_applications != null then ask_applications
  else {fail: "not_found", message: "applicant \(.candidate.id) has no application on job \(.job) in BambooHR"}
  end;

# ---- statuses: the list is kept; before one counts as missing, it is asked for once more

def ask_statuses($name; $more):
  {lookup: $name, list: [], request: {method: "GET", path: ["applicant_tracking", "statuses"]}} + $more;

def statuses:
  (.got["statuses again"] // .got.statuses).body
  | if type == "array" then map(select(.enabled != false and (.id | tostring | test("^[0-9]{1,9}$")))) else [] end;

# The status that is meant: by its exact name, its code, its name in any case; null.
def find_status($wanted):
  ($wanted | ascii_downcase) as $small
  | first((.[] | select(.name == $wanted or .translatedName == $wanted)),
          (.[] | select(.code == $wanted)),
          (.[] | select((.name // "" | ascii_downcase) == $small or (.translatedName // "" | ascii_downcase) == $small)),
          null);

def set_status($status):
  {request: {method: "POST", path: (applications + [.application, "status"]), body: {status: ($status.id | tonumber)}}};

# f sees the context with .status, the one of this name. A number needs no list: BambooHR says if there is none.
def with_status($wanted; f):
  if ($wanted | test("^[0-9]{1,9}$")) then (. + {status: {id: $wanted}}) | f
  elif .got.statuses == null then ask_statuses("statuses"; {cache: "15m"})
  else
    (statuses | find_status($wanted)) as $status
    | if $status != null then (. + {status: $status}) | f
      elif .got["statuses again"] == null then ask_statuses("statuses again"; {})
      else
        {fail: "configuration",
         message: "there is no status \"\($wanted)\" in BambooHR; it has: \([statuses[] | .name] | join(", "))"}
      end
  end;

# ---- stage, reject

def ask_current: {lookup: "current", record: [], request: {method: "GET", path: (applications + [.application])}};

# "none" stands for no status.
def guarded_move($from):
  (.got.current.body.status // {}) as $now
  | if ($now.id | tostring) == (.status.id | tostring) then {already: true}
    elif any($from[]; . as $name
             | if $now.id == null then $name == "none"
               else ($now.id | tostring) == $name or ($now.label // "" | ascii_downcase) == ($name | ascii_downcase)
               end) then set_status(.status)
    else
      {skip: "the candidate is in \(if $now.id == null then "no stage yet" else "stage \"\($now.label)\"" end), the mapping moves only from: \($from | join(", "))"}
    end;

def stage:
  (.write.only_from // []) as $from
  | with_application(with_status(.write.stage;
      if ($from | length) == 0 then set_status(.status)
      elif .got.current == null then ask_current
      elif .got.current.body | has("status") | not then
        {fail: "bad_answer", message: "BambooHR answered without the application's status"}
      else guarded_move($from)
      end));

def reject: with_application(with_status(.write.reason; set_status(.status)));

# ---- note

def note:
  with_application(
    {request: {method: "POST", path: (applications + [.application, "comments"]),
               body: {type: "comment", comment: .write.text}}});

# ---- probe

def probe: if .got.statuses == null then ask_statuses("statuses"; {}) else {already: true} end;

# ---- what an answer means

# [outcome, class] of a failure with words of BambooHR's own, by status.
def meaning($is_append):
  if . == 401 then ["reauth", "credentials"]
  elif . == 403 then ["config", "permission"]
  elif . == 404 then ["not_found", "not_found"]
  elif . == 429 then ["throttled", "rate_limited"]
  elif . < 500 then ["invalid", "invalid"]
  elif $is_append and . != 503 then ["uncertain", "unavailable"]
  else ["retry", "unavailable"]
  end;

# The words are in a header, or in a body that 200 may carry as well; then its code counts.
def classify:
  (if (.body | type) == "object" and (.body.error | type) == "object" then .body.error else {} end) as $error
  | (.headers["x-bamboohr-error-message"] // $error.message) as $words
  | (if ($error.code | type) == "number" then $error.code else .status end) as $status
  | (.request.verb == "note" and .request.is_write) as $is_append
  | if $words != null or $status != .status then
      (if $status < 400 then 400 else $status end | meaning($is_append)) as $meaning
      | {outcome: $meaning[0], class: $meaning[1], message: ($words // "BambooHR answered with error \($status)")}
    else null
    end;
