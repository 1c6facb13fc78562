# smartrecruiters - SmartRecruiters, Customer API.
#
# Base URL   https://api.smartrecruiters.com
# Auth       X-SmartToken, an API key.
# Ids        the candidate's external id is the SmartRecruiters candidate id, `job` the job id; most writes name the pair
#            in their path, there is no application id.
# Limits     10 requests a second, some calls 2; 8 at a time; 429 without Retry-After. A client should wait 128 seconds
#            for an answer.
# Sources    certain (developers.smartrecruiters.com: rate-limiting): limits. The vendor's description of 2017 by way of
#            a generated client: paths, bodies, statuses, properties, messages. Third-party clients: errors.
# Traps      - A note is a message that names the candidate inside its text, #[CANDIDATE:id]; @[USER:id] in it would send
#            e-mail to that user. What a candidate has typed must not become either.
#            - There is no documented list of such messages: our own cannot be looked for.
#            - The statuses are fixed, sub-statuses are the company's own.
# Example    connectors:
#   smartrecruiters:
#       type: smartrecruiters
#       credentials: {api_key: {credential: smartrecruiters}}

def meta: {
  name: "smartrecruiters",
  title: "SmartRecruiters",
  base_url: "https://api.smartrecruiters.com",
  settings: {
    properties_of: {default: "application", pattern: "application|candidate",
      help: "where fields are written: application (the candidate on the job), or candidate"}
  },
  credentials: {api_key: {help: "an API key made in SmartRecruiters: Settings, Administration, Apps and integrations, Web SSO / API keys"}},
  auth: {kind: "header", name: "X-SmartToken", value: "{api_key}"},
  rate: {count: 8, per_ms: 1000, remaining: "x-ratelimit-remaining"},
  concurrency: 8,
  timeout_ms: 130000,
  throttle_ms: 1000,
  probe: true,
  capabilities: {
    stage: {needs_job: true, only_from: true,
            pattern: "(?i:lead|new|in[ _]review|interview|offered|hired)(/.+)?"},
    reject: {needs_job: true},
    fields: {},
    tags: {batch: true},
    note: {max_chars: 4000}
  },
  notes: [
    "A stage is one of LEAD, NEW, IN_REVIEW, INTERVIEW, OFFERED and HIRED, and may name a sub-status behind a slash: IN_REVIEW/Phone Screen. In only_from a status without a sub-status means any of its sub-statuses.",
    "A candidate who is rejected, withdrawn or hired is not moved.",
    "Notes are open notes: whoever has access to the candidate reads them. No user is mentioned in them, so that none should get e-mail; #[ and @[ that a candidate has typed are broken up.",
    "Notes cannot be looked for: after a lost answer a note may be there twice; on_uncertain: hold leaves that to a person.",
    "Fields are candidate properties, by id or label. Options of a list are given by label.",
    "Assessment results belong to SmartRecruiters' own assessment partner API: write a field or a note.",
    "unverified: that an open note sends no e-mail, the form of a property's value and of an option's, and the greatest length of a message (cut at 4,000 characters)."
  ]
};

def look($name; $path; $more):
  if .got[$name] == null then {lookup: $name, request: {method: "GET", path: $path}} + $more else null end;
# The list of an answer, which may stand alone or in the member content.
def listed: .body | if type == "object" then .content else . end;
def look_list($name; $path; $more):
  look($name; $path; $more)
  // (if .got[$name] | listed | type == "array" and all(.[]; type == "object") then null
      else {fail: "bad_answer", message: "SmartRecruiters answered without the list of \($path | join("/"))"} end);
# A list that rarely changes: kept, and asked for once more before something counts as missing in it.
def look_kept($name; $path): look_list($name; $path; {cache: "15m"});
def look_again($name; $path): look_list($name + " again"; $path; {});
def list($name):
  .got[$name + " again"] // .got[$name] // {} | listed | if type == "array" then map(objects) else [] end;

def name: .label // .name;
# The entry that is meant: by its id, by its exact name, else by its name in any case; null.
def find_entry($list; $wanted):
  ($wanted | ascii_downcase) as $small
  | first(($list[] | select(.id | tostring == $wanted)),
          ($list[] | select(name == $wanted)),
          ($list[] | select((name // "" | ascii_downcase) == $small)),
          null);
def names($list): if ($list | length) == 0 then "none" else [$list[] | name // ""] | join(", ") end;

def of_candidate: ["candidates", .candidate.id];
def of_job: of_candidate + ["jobs", .job];

# ---- where the candidate stands on the job

def assignment:
  .job as $job
  | .got.candidate.body
  | if type == "object" then . else {} end
  | first((([.primaryAssignment] + (.secondaryAssignments // []))[] | select(.job.id? == $job)), null);
def look_assignment:
  look("candidate"; of_candidate; {record: []})
  // (if .got.candidate.body.id == null then
        {fail: "bad_answer", message: "SmartRecruiters answered without the candidate"}
      elif assignment == null then
        {fail: "not_found", message: "candidate \(.candidate.id) is not on job \(.job) in SmartRecruiters"}
      else null end);

# "In review/Phone Screen" -> {status: "IN_REVIEW", sub: "Phone Screen"}
def parsed:
  (index("/") // length) as $at
  | {status: (.[:$at] | ascii_upcase | gsub("[ ]"; "_")), sub: (if $at == length then null else .[$at + 1:] end)};
def same_sub($other): ascii_downcase == ($other // "" | ascii_downcase);
def shown($assignment):
  $assignment.status + (if $assignment.subStatus == null then "" else "/" + $assignment.subStatus end);
def is_in($assignment): parsed as $p | $p.status == $assignment.status and ($p.sub == null or ($p.sub | same_sub($assignment.subStatus)));

def stage:
  look_assignment
  // (assignment as $now
      | (.write.stage | parsed) as $to
      | (.write.only_from // []) as $from
      | if .write.stage | is_in($now) then {already: true}
        elif $now.status == "REJECTED" or $now.status == "WITHDRAWN" or $now.status == "HIRED" then
          {skip: "the candidate is \($now.status) on this job in SmartRecruiters and is not moved"}
        elif $from == [] or any($from[]; is_in($now)) then
          {request: {method: "PUT", path: (of_job + ["status"]),
                     body: ({status: $to.status} + (if $to.sub == null then {} else {subStatus: $to.sub} end))}}
        else
          {skip: "the candidate is in \(shown($now)), the mapping moves only from: \($from | join(", "))"}
        end);

# ---- reject

def reason: find_entry(list("reasons"); .write.reason);
def reasons_path: ["configuration", "rejection-reasons"];

def reject:
  look_assignment
  // (if assignment.status == "REJECTED" then {already: true}
      elif assignment.status == "HIRED" or assignment.status == "WITHDRAWN" then
        {skip: "the candidate is \(assignment.status) on this job in SmartRecruiters and is not rejected"}
      else null end)
  // look_kept("reasons"; reasons_path)
  // (if reason == null then look_again("reasons"; reasons_path) else null end)
  // (if reason == null then
        {fail: "configuration",
         message: "there is no rejection reason \"\(.write.reason)\"; SmartRecruiters has: \(names(list("reasons")))"}
      else null end)
  // {request: {method: "PUT", path: (of_job + ["status"]), body: {status: "REJECTED", reason: reason.id}}};

# ---- fields: one property at a time

def properties_path: ["configuration", "candidate-properties"];
def field_name: .write.fields | keys[0];
def property: find_entry(list("properties"); field_name);
def options_path: properties_path + [property.id, "values"];
def is_list: property.type == "SINGLE_SELECT";
def value: .write.fields[field_name];
def option: find_entry(list("options"); value | tostring);

# The number that a text is, with all its digits: one of over 15, or with an exponent, goes on as the engine wraps what a
# double cannot hold (U+10FFFF n). "nan" is none, although tonumber takes it.
def exact_number:
  "\udbff\udfffn" as $exact
  | if type == "number" then .
    elif type != "string" then error("no number")
    else
      ltrimstr($exact) | gsub("^\\s+|\\s+$"; "")
      | if test("\\A[-+]?[0-9]*[.]?[0-9]+\\z") and length <= 15 then tonumber
        elif test("\\A-?(0|[1-9][0-9]*)([.][0-9]+)?([eE][-+]?[0-9]+)?\\z") then $exact + .
        else error("no number")
        end
    end;

# {value: …} as the type wants it, {error: …} if it cannot be.
def typed($type):
  if $type == "BOOLEAN" then
    (tostring | ascii_downcase)
    | if . == "true" or . == "yes" or . == "1" then {value: true}
      elif . == "false" or . == "no" or . == "0" then {value: false}
      else {error: "takes yes or no"} end
  elif $type == "NUMBER" or $type == "PERCENT" then
    . as $v | (try ($v | exact_number | {value: .}) catch {error: "takes a number"})
  elif type == "array" then {value: ([.[] | tostring] | join(", "))}
  elif type == "object" then {value: .}
  else {value: tostring}
  end;

def fields:
  (if .settings.properties_of == "application" and .job == null then
     {fail: "configuration",
      message: "with properties_of: application the workflow needs a job, on whose application the fields are"}
   else null end)
  // look_kept("properties"; properties_path)
  // (if property == null then look_again("properties"; properties_path) else null end)
  // (if property == null then
        {fail: "configuration",
         message: "there is no candidate property \"\(field_name)\"; SmartRecruiters has: \(names(list("properties")))"}
      elif value == null then
        {fail: "invalid", message: "the property \"\(field_name)\" cannot be cleared through SmartRecruiters' API"}
      else null end)
  // (if is_list then look_kept("options"; options_path) else null end)
  // (if is_list and option == null then look_again("options"; options_path) else null end)
  // (if is_list and option == null then
        {fail: "invalid", message: "the property \"\(field_name)\" has no such value; it has: \(names(list("options")))"}
      else null end)
  // (property as $property
      | (if is_list then {value: option.id} else (value | typed($property.type)) end) as $value
      | if $value.error != null then {fail: "invalid", message: "the property \"\(field_name)\" \($value.error)"}
        else
          {request: {method: "PUT",
                     path: ((if .settings.properties_of == "application" then of_job else of_candidate end)
                            + ["properties", $property.id]),
                     body: $value}}
        end);

# ---- tags: added to what is there

def tags: {request: {method: "POST", path: (of_candidate + ["tags"]), body: {tags: .write.tags}}};

# ---- note

# What would name a candidate or a user, and so be linked or send e-mail.
def harmless: gsub("(?<c>[#@])\\["; "\(.c) [");

def note:
  if .candidate.id | type == "string" and test("\\A[0-9A-Za-z-]+\\z") | not then
    {fail: "invalid", message: "the candidate's external id cannot be an id of SmartRecruiters"}
  else
    {request: {method: "POST", path: ["messages", "shares"],
               body: {content: ("#[CANDIDATE:" + .candidate.id + "] " + (.write.text | harmless)),
                      shareWith: {openNote: true}}}}
  end;

def probe: look("reasons"; reasons_path; {}) // {already: true};
