# workable - Workable, API v3 (spi/v3).
#
# Base URL   https://SUBDOMAIN.workable.com/spi/v3
# Auth       Authorization: Bearer, an access token of the account.
# Ids        a Workable candidate belongs to one job (who applies twice is two candidates): the candidate's external id
#            says which job and application are meant. `job`, if given, is the job's shortcode and is compared.
# Limits     10 requests in 10 seconds with an account token; X-Rate-Limit-Reset is the time of the next interval (epoch
#            seconds), there is no Retry-After.
# Sources    certain (workable.readme.io: rate-limits, move-candidate): address, limits, the move. Third-party clients
#            that cite the reference pages: all other bodies and lists.
# Traps      - Almost every write needs the id of the member who does it.
#            - Tags are replaced as a set, so they are read, added to and sent back; Workable makes them small letters
#              and cuts them at a blank.
#            - A custom attribute is written one per request, and the member that holds the value depends on its type.
#            - 404 of that request also means that there is no such attribute.
#            - Moves answer 202 without a body.
# Example    connectors:
#   workable:
#       type: workable
#       credentials: {token: {credential: workable}}
#       settings: {subdomain: cedar, member_id: 1f395d}

def meta: {
  name: "workable",
  title: "Workable",
  base_url: "https://{subdomain}.workable.com/spi/v3",
  settings: {
    subdomain: {pattern: "[a-z0-9][a-z0-9-]{0,62}", help: "the account's name, as in https://NAME.workable.com"},
    member_id: {pattern: "[0-9a-zA-Z]+",
      help: "the id of the Workable member in whose name atsyncd writes (GET /members lists them)"}
  },
  credentials: {token: {help: "an API access token made in Workable: Settings, Integrations, Apps, Access tokens; scopes r_jobs, r_candidates, w_candidates"}},
  auth: {kind: "header", name: "Authorization", value: "Bearer {token}"},
  rate: {count: 10, per_ms: 10000, remaining: "x-rate-limit-remaining"},
  concurrency: 2,
  timeout_ms: 30000,
  retry_after: [{header: "X-Rate-Limit-Reset", unit: "epoch"}],
  throttle_ms: 10000,
  classify: true,
  probe: true,
  capabilities: {
    stage: {only_from: true},
    reject: {},
    fields: {},
    tags: {batch: true, max_chars: 24, pattern: "\\S+"},
    note: {max_chars: 20000, find_marker: true}
  },
  notes: [
    "A Workable candidate belongs to one job. If the workflow names a job (its shortcode), candidates of other jobs are refused.",
    "The rate fits an access token of the account; an OAuth or partner token allows 50 in 10 seconds: set rate_limit.",
    "Moving a candidate to a stage of the kind \"hired\" needs a requisition where hiring plans are on, which is not sent.",
    "Rejecting disqualifies with one of the account's reasons; an account without reasons gets the reason as a note of up to 256 characters. Workable sends no e-mail for it.",
    "Fields are the account's custom attributes, by id or label. Files cannot be written, and a value cannot be cleared.",
    "Tags become small letters; a tag may have no blanks and at most 24 characters.",
    "Assessment results belong to Workable's own assessment provider API: write a field or a note.",
    "unverified: whether an attribute's key is the id in the list of attributes, and the greatest length of a comment (cut at 20,000 characters)."
  ]
};

# ---- finding entries of lists

# The entry that is meant: by one of its ids, by its exact name, else by its name in any case; null.
def find_entry($list; $wanted; ids; name):
  ($wanted | ascii_downcase) as $small
  | first(($list[] | select(any(ids; . != null and tostring == $wanted))),
          ($list[] | select(name == $wanted)),
          ($list[] | select((name // "" | ascii_downcase) == $small)),
          null);

def look($name; $path; $more):
  if .got[$name] == null then {lookup: $name, request: {method: "GET", path: $path}} + $more else null end;
# The list of an answer, which may stand alone or in a member.
def listed($member): .body | if type == "object" then .[$member] else . end;
def look_list($name; $path; $member; $more):
  look($name; $path; $more)
  // (if .got[$name] | listed($member) | type == "array" and all(.[]; type == "object") then null
      else {fail: "bad_answer", message: "Workable answered without the list of \($member)"} end);
# A list that rarely changes: kept, and asked for once more before something counts as missing in it.
def look_kept($name; $path; $member): look_list($name; $path; $member; {cache: "15m"});
def look_again($name; $path; $member): look_list($name + " again"; $path; $member; {});
def list($name; $member):
  .got[$name + " again"] // .got[$name] // {} | listed($member) | if type == "array" then map(objects) else [] end;

def joined(name): if length == 0 then "none" else [.[] | name // ""] | join(", ") end;

# ---- the candidate and its job

# What was answered; nothing, where it is not what Workable answers.
def content: .body | if type == "object" then . else {} end;

def of_candidate: ["candidates", .candidate.id];
def candidate: .got.candidate | content.candidate;
def look_candidate:
  look("candidate"; of_candidate; {})
  // (if (candidate | type) != "object" then
        {fail: "bad_answer", message: "Workable answered without the candidate"}
      elif .job != null and candidate.job.shortcode != null and candidate.job.shortcode != .job then
        {fail: "not_found",
         message: "candidate \(.candidate.id) belongs to job \(candidate.job.shortcode) in Workable, not to \(.job)"}
      else null end);
def shortcode: candidate.job.shortcode // .job;

# ---- stage

def stages: list("stages"; "stages");
def find_stage($wanted): find_entry(stages; $wanted; .slug, .id, .identifier; .name);
def target: find_stage(.write.stage);
# Workable names the candidate's stage, in one list by name and in another by slug.
def current: candidate.stage as $now | if $now == null then null else find_stage($now) // {slug: $now, name: $now} end;

def stage:
  look_candidate
  // (if candidate.disqualified == true then
        {skip: "the candidate is disqualified in Workable, only others are moved"} else null end)
  // (if shortcode == null then
        {fail: "bad_answer", message: "Workable does not say to which job the candidate belongs"} else null end)
  // look_kept("stages"; ["jobs", shortcode, "stages"]; "stages")
  // (if target == null then look_again("stages"; ["jobs", shortcode, "stages"]; "stages") else null end)
  // (if target == null then
        {fail: "configuration",
         message: "there is no stage \"\(.write.stage)\" in job \(shortcode); it has: \(stages | joined(.name))"}
      else null end)
  // ((.write.only_from // []) as $from
      | current as $now
      | if $now != null and $now.slug == target.slug then {already: true}
        elif $from == []
             or any($from[]; ascii_downcase as $f
                             | $f == ($now.slug // "none" | ascii_downcase) or $f == ($now.name // "none" | ascii_downcase)) then
          {request: {method: "POST", path: (of_candidate + ["move"]),
                     body: {member_id: .settings.member_id, target_stage: target.slug}}}
        else
          {skip: ("the candidate is in "
                  + (if $now == null then "no stage" else "stage \"\($now.name)\"" end)
                  + ", the mapping moves only from: " + ($from | join(", ")))}
        end);

# ---- reject

def reasons: [list("reasons"; "disqualification_reasons")[] | select(.candidate_withdrew != true)];
def reason: find_entry(reasons; .write.reason; .id; .description // .name);

def reject:
  look_candidate
  // (if candidate.disqualified == true then {already: true} else null end)
  // look_kept("reasons"; ["disqualification_reasons"]; "disqualification_reasons")
  // (if reason == null and (reasons != [] or .got["reasons again"] != null) then look_again("reasons"; ["disqualification_reasons"]; "disqualification_reasons") else null end)
  // (if reason == null and reasons != [] then
        {fail: "configuration",
         message: "there is no disqualification reason \"\(.write.reason)\"; Workable has: \(reasons | joined(.description // .name))"}
      else null end)
  // {request: {method: "POST", path: (of_candidate + ["disqualify"]),
                body: ({member_id: .settings.member_id}
                       + (if reason == null then {disqualify_note: .write.reason[:256]}
                          else {disqualify_reason_id: reason.id} end))}};

# ---- fields: custom attributes, one at a time

def attributes: list("attributes"; "custom_attributes");
def field_name: .write.fields | keys[0];
def attribute: find_entry(attributes; field_name; .key, .id; .label);

def choice_ids($attribute):
  [(if type == "array" then .[] else . end) | tostring as $wanted
   | find_entry($attribute.choices // []; $wanted; .id; .body) | if . == null then null else .id end];

# The value in the member that its type wants, {error: …} if it cannot be.
def value_member($attribute):
  . as $value
  | ($attribute.type // "free_text") as $type
  | if $type == "boolean" then
      (tostring | ascii_downcase)
      | if . == "true" or . == "yes" or . == "1" then {checked: true}
        elif . == "false" or . == "no" or . == "0" then {checked: false}
        else {error: "takes yes or no"} end
    elif $type == "date" then
      if type == "string" and test("^[0-9]{4}-[0-9]{2}-[0-9]{2}") then {date: .}
      else {error: "takes a date such as 2026-01-31"} end
    elif $type == "dropdown" or $type == "multiple_choice" then
      choice_ids($attribute) as $ids
      | if any($ids[]; . == null) then
          {error: "has no such choice; it has: \($attribute.choices // [] | joined(.body))"}
        else {choices: $ids} end
    elif $type == "file" then {error: "is a file, which cannot be written"}
    elif $type == "numeric" and (tostring | test("\\A\\s*[-+]?[0-9]*[.]?[0-9]+([eE][-+]?[0-9]+)?\\s*\\z") | not) then
      {error: "takes a number"}
    elif type == "array" then {value: ([.[] | tostring] | join(", "))}
    else {value: tostring}
    end;

def fields:
  look_kept("attributes"; ["custom_attributes"]; "custom_attributes")
  // (if attribute == null then look_again("attributes"; ["custom_attributes"]; "custom_attributes") else null end)
  // (if attribute == null then
        {fail: "configuration",
         message: "there is no custom attribute \"\(field_name)\"; Workable has: \(attributes | joined(.label))"}
      elif .write.fields[field_name] == null then
        {fail: "invalid", message: "the custom attribute \"\(field_name)\" cannot be cleared through Workable's API"}
      else null end)
  // (attribute as $attribute
      | (.write.fields[field_name] | value_member($attribute)) as $value
      | if $value.error != null then
          {fail: "invalid", message: "the custom attribute \"\(field_name)\" \($value.error)"}
        else
          {request: {method: "PATCH", path: (of_candidate + ["update_custom_attribute_value"]),
                     body: ({custom_attribute_key: ($attribute.key // $attribute.id)} + $value)}}
        end);

# ---- tags: the whole set, with everybody else's

def tags:
  look_candidate
  // ((candidate.tags // []) as $there
      | [$there[] | ascii_downcase] as $small
      | [.write.tags[] | ascii_downcase | select(. as $t | all($small[]; . != $t))] as $new
      | if $new == [] then {already: true}
        else {request: {method: "PUT", path: (of_candidate + ["tags"]), body: {tags: ($there + ($new | unique))}}}
        end);

# ---- note

def note:
  {request: {method: "POST", path: (of_candidate + ["comments"]),
             body: {member_id: .settings.member_id, comment: {body: .write.text}}}};

def next_page: (content.paging | objects | .next) // null | if type == "string" and . != "" then . else null end;
def find_marker:
  (.got.comments // []) as $pages
  | (("[" + .write.marker + "]") as $mark
     | any($pages[] | content.activities // [] | .[]; .body | type == "string" and contains($mark))) as $found
  | if $pages == [] then
      {lookup: "comments", append: true, list: ["activities"],
       request: {method: "GET", path: (of_candidate + ["activities"]), query: {actions: "comment", limit: 100}}}
    elif $found or ($pages[-1] | next_page) == null or ($pages | length) >= 20 then {found: $found}
    else {lookup: "comments", append: true, list: ["activities"], request: {method: "GET", url: ($pages[-1] | next_page)}}
    end;

# ---- what answers mean

def classify:
  if .status == 404 and .request.verb == "fields" and .request.is_write then
    {outcome: "config", class: "configuration",
     message: "Workable knows no such candidate, or the custom attribute is not one of the candidate's job"}
  else null
  end;

def probe:
  if .got.stages == null then {lookup: "stages", request: {method: "GET", path: ["stages"]}} else {already: true} end;
