# lever - Lever, Data API v1.
#
# Base URL   https://api.lever.co/v1; EU tenants https://api.eu.lever.co/v1 (not certain), sandbox
#            https://api.sandbox.lever.co/v1.
# Auth       HTTP Basic, the API key as user name, no password.
# Ids        the candidate's external id is the id of the opportunity (one person in one pipeline), or, by a setting,
#            of the contact (the person); then `job` is the posting by which the opportunity is looked up.
# Limits     10 requests a second and key, bursts to 20; 429 without headers that are documented.
# Sources    certain (hire.lever.co/developer: support, use cases): address, authentication, opportunities, notes that
#            cannot be changed, tags. Third-party clients that cite the reference: bodies, perform_as, archive reasons,
#            limits, errors.
# Traps      - The acting user is a query parameter, perform_as.
#            - Archiving with a reason of the type "hired" hires: such reasons are never taken for a rejection.
#            - An opportunity has no custom fields.
#            - Notes cannot be changed.
# Example    connectors:
#   lever:
#       type: lever
#       credentials: {api_key: {credential: lever}}
#       settings: {perform_as: 8d49b010-cc6a-4f40-ace5-e86061c677ed}

def meta: {
  name: "lever",
  title: "Lever",
  base_url: "https://{api_host}/v1",
  settings: {
    api_host: {default: "api.lever.co", pattern: "api(\\.eu|\\.sandbox)?\\.lever\\.co",
      help: "api.lever.co, api.eu.lever.co or api.sandbox.lever.co"},
    perform_as: {pattern: "[0-9a-fA-F-]{36}",
      help: "the id of the Lever user in whose name atsyncd writes"},
    candidate_is: {default: "opportunity", pattern: "opportunity|contact",
      help: "what the candidate's external id is: opportunity, or contact (then the workflow's job is the posting)"},
    clean_interviews: {default: "false", pattern: "true|false",
      help: "true: a rejection takes the candidate's pending interviews off the calendars"},
    secret_notes: {default: "false", pattern: "true|false",
      help: "true: notes are secret, only users with access to secret notes read them"},
    notify_followers: {default: "false", pattern: "true|false",
      help: "true: Lever tells the followers of the opportunity about a note, by e-mail if they wish so"}
  },
  credentials: {api_key: {help: "an API key made in Lever: Settings, Integrations and API, API Credentials"}},
  auth: {kind: "basic", username: "{api_key}", password: ""},
  rate: {count: 10, per_ms: 1000},
  concurrency: 4,
  timeout_ms: 30000,
  throttle_ms: 1000,
  probe: true,
  capabilities: {
    stage: {only_from: true},
    reject: {},
    tags: {batch: true},
    note: {max_chars: 20000, find_marker: true}
  },
  notes: [
    "The candidate's external id is the id of the opportunity; with the setting candidate_is: contact it is the contact, and the newest opportunity of that contact for the workflow's posting is taken, one that is not archived before others.",
    "The API key needs to read opportunities, stages, archive reasons and notes, and to write opportunities, archive state, tags and notes.",
    "Lever has no custom fields on opportunities: map answers to a note. Profile forms and feedback are not written.",
    "An archived opportunity is not moved. Nobody is told of a note unless notify_followers is true; Lever sends no e-mail to a candidate for any of these calls.",
    "unverified: the host of EU tenants (api.eu.lever.co), the greatest length of a note (cut at 20,000 characters)."
  ]
};

def as_user: {perform_as: .settings.perform_as};

# What was answered; nothing, where it is not what Lever answers.
def content: .body | if type == "object" then . else {} end;

# ---- reading lists: {data: […], hasNext, next}

def ask_list($name; $path; $query; $more):
  (.got[$name] // []) as $pages
  | if $pages == [] then
      {lookup: $name, append: true, list: ["data"], request: {method: "GET", path: $path, query: ($query + {limit: 100})}} + $more
    elif ($pages[-1] | content.hasNext) == true and ($pages | length) < 20 then
      {lookup: $name, append: true, list: ["data"],
       request: {method: "GET", path: $path, query: ($query + {limit: 100, offset: ($pages[-1] | content.next)})}} + $more
    else null
    end;
# A list that rarely changes: kept, and asked for once more before something counts as missing in it.
def ask_catalogue($name; $path): ask_list($name; $path; {}; {cache: "15m"});
def ask_again($name; $path): ask_list($name + " again"; $path; {}; {});

def rows($name):
  [(.got[$name + " again"] // .got[$name] // [])[] | content.data | if type == "array" then .[] | objects else empty end];

# The row that is meant: by its id, by its exact text, else by its text in any case; null.
def find_row($rows; $wanted):
  ($wanted | ascii_downcase) as $small
  | first(($rows[] | select(.id == $wanted)),
          ($rows[] | select(.text == $wanted)),
          ($rows[] | select((.text // "" | ascii_downcase) == $small)),
          null);

def names($rows): if ($rows | length) == 0 then "none" else [$rows[] | .text // ""] | join(", ") end;

# ---- the opportunity

def by_contact: .settings.candidate_is == "contact";
def found: rows("opportunities") | ([.[] | select(.archived == null)] | max_by(.createdAt // 0)) // max_by(.createdAt // 0);
def opportunity_id: if by_contact then found.id else .candidate.id end;
def of_opportunity: ["opportunities", opportunity_id];

def ask_id:
  if by_contact | not then null
  elif .job == null then
    {fail: "configuration",
     message: "with candidate_is: contact the workflow needs a job: the posting whose opportunity is meant"}
  else
    ask_list("opportunities"; ["opportunities"]; {contact_id: .candidate.id, posting_id: .job}; {})
    // (if found == null then
          {fail: "not_found", message: "contact \(.candidate.id) has no opportunity for posting \(.job) in Lever"}
        else null end)
  end;
def ask_opportunity:
  ask_id
  // (if .got.opportunity == null then {lookup: "opportunity", request: {method: "GET", path: of_opportunity}}
      elif (.got.opportunity | content.data | type) != "object" then
        {fail: "bad_answer", message: "Lever answered without the opportunity"}
      else null end);
def opportunity: .got.opportunity | content.data;
def is_archived: opportunity.archived != null and (opportunity.archived.archivedAt // opportunity.archived.reason) != null;

# ---- stage

def target: find_row(rows("stages"); .write.stage);
def stage_name: opportunity.stage as $id | first((rows("stages")[] | select(.id == $id) | .text), $id);

def stage:
  ask_opportunity
  // (if is_archived then {skip: "the opportunity is archived in Lever, only active ones are moved"} else null end)
  // ask_catalogue("stages"; ["stages"])
  // (if target == null then ask_again("stages"; ["stages"]) else null end)
  // (if target == null then
        {fail: "configuration", message: "there is no stage \"\(.write.stage)\"; Lever has: \(names(rows("stages")))"}
      else null end)
  // ((.write.only_from // []) as $from
      | stage_name as $name
      | opportunity.stage as $now
      | if $now == target.id then {already: true}
        elif $from == []
             or any($from[]; . == ($now // "none") or (ascii_downcase == ($name // "none" | ascii_downcase))) then
          {request: {method: "PUT", path: (of_opportunity + ["stage"]), query: as_user, body: {stage: target.id}}}
        else
          {skip: ("the candidate is in "
                  + (if $now == null then "no stage" else "stage \"\($name)\"" end)
                  + ", the mapping moves only from: " + ($from | join(", ")))}
        end);

# ---- reject: archive with a reason

def reasons: [rows("reasons")[] | select(.type != "hired" and .status != "inactive")];
def reason: find_row(reasons; .write.reason);

def reject:
  ask_opportunity
  // (if is_archived then {already: true} else null end)
  // ask_catalogue("reasons"; ["archive_reasons"])
  // (if reason == null then ask_again("reasons"; ["archive_reasons"]) else null end)
  // (if reason == null then
        {fail: "configuration",
         message: "there is no archive reason \"\(.write.reason)\" for rejections; Lever has: \(names(reasons))"}
      else null end)
  // {request: {method: "PUT", path: (of_opportunity + ["archived"]), query: as_user,
                body: {reason: reason.id, cleanInterviews: (.settings.clean_interviews == "true")}}};

# ---- tags: a tag that is there already stays there once

def tags:
  ask_id
  // {request: {method: "POST", path: (of_opportunity + ["addTags"]), query: as_user, body: {tags: .write.tags}}};

# ---- note

def note:
  ask_id
  // {request: {method: "POST", path: (of_opportunity + ["notes"]), query: as_user,
                body: ({value: .write.text, secret: (.settings.secret_notes == "true")}
                       + (if .settings.notify_followers == "true" then {notifyFollowers: true} else {} end))}};

# The text stands in .fields[].value or .text of a note.
def find_marker:
  ask_id
  // ask_list("notes"; of_opportunity + ["notes"]; {}; {})
  // (("[" + .write.marker + "]") as $mark
      | {found: any(rows("notes")[] | .. | strings; contains($mark))});

def probe:
  if .got.stages == null then {lookup: "stages", request: {method: "GET", path: ["stages"], query: {limit: 1}}}
  else {already: true}
  end;
