# recruitee - Recruitee (Tellent), ATS API.
#
# Base URL: https://api.recruitee.com/c/COMPANY; the company's number or subdomain.
# Auth: Authorization: Bearer, a personal API token (Settings, Apps and plugins, Personal API tokens).
# Limits: 100 requests a minute (trial accounts 5), 429 with Retry-After.
#
# Ids: .candidate.id is the candidate's number, the job is the number of the "offer". Stage and disqualification belong
#   to the "placement" of both, which is listed in the candidate.
# Sources: no page of the vendor could be read. All calls come from published programs of third parties, which agree in
#   these: GET candidates/ID with placements, tags and fields; GET offers/ID with pipeline_template.stages; PATCH
#   placements/ID/change_stage {stage_id}; PATCH placements/ID/disqualify; notes {note: {body}}; custom fields by
#   custom_fields/candidates/ID/fields[/FID] with values [{text}], [{flag}] or [{value}] by kind; limits.
# Unverified, so everything here, and especially: the body of disqualify; tags by name (a client of another family adds
#   them by number); how a placement shows that it is disqualified; that a note's body is plain text.
# Traps: lists have no mark for "no more": a short page is the last one. Profile fields of a candidate that have no
#   value yet have no id and must be created, others changed by their id. Moves may start automations of the account.

def meta: {
  name: "recruitee",
  title: "Recruitee (Tellent)",
  base_url: "https://api.recruitee.com/c/{company_id}",
  settings: {
    company_id: {pattern: "[A-Za-z0-9-]+", help: "the company's number, shown beside the personal API tokens, or its subdomain"}
  },
  credentials: {token: {help: "a personal API token: Recruitee, Settings, Apps and plugins, Personal API tokens"}},
  auth: {kind: "header", name: "Authorization", value: "Bearer {token}"},
  rate: {count: 100, per_ms: 60000},
  concurrency: 4,
  timeout_ms: 30000,
  capabilities: {
    stage: {needs_job: true, only_from: true},
    reject: {needs_job: true},
    fields: {},
    tags: {batch: true},
    note: {max_chars: 10000, find_marker: true}
  },
  probe: true,
  notes: [
    "The candidate's external id must be Recruitee's candidate number, the workflow's job the number of the offer.",
    "A stage is one of the offer's pipeline, by name or number; a reason one of the account's disqualify reasons.",
    "Fields are the candidate's profile fields, by name or number, of the kinds single_line, multi_line, boolean, dropdown, date and number.",
    "A candidate who is disqualified for the job is not moved.",
    "Moves and disqualifications may start automations of the account, e-mails included: check them in Recruitee.",
    "There is no place for an assessment that could be written twice without harm; use fields and a note.",
    "unverified: all calls were taken from programs of third parties, none from the vendor's documentation. Try them with one candidate first.",
    "unverified: the body of disqualify, tags by name, how a placement shows that it is disqualified, and whether notes are shown as text or as HTML (neither makes markup of what a candidate has typed)."
  ]
};

def page_size: 100;
def pages_max: 10;

# The one that has this id or name: the name exactly, else whatever the case of its letters; null if there is none.
def pick($wanted):
  ($wanted | ascii_downcase) as $low
  | first((.[] | select(.id != null and (.id | tostring) == $wanted)),
          (.[] | select(.name == $wanted)),
          (.[] | select((.name | type) == "string" and (.name | ascii_downcase) == $low)),
          null);
def names: map(.name | select(type == "string")) | join(", ");

def of_candidate: ["candidates", .candidate.id];
def candidate_lookup: {lookup: "candidate", record: ["candidate"], request: {method: "GET", path: of_candidate}};
def candidate: .got.candidate.body.candidate;

# The candidate's place in the offer; of several the newest.
def placement:
  .job as $job
  | [candidate.placements[]? | select((.offer_id | tostring) == $job)] | sort_by(.id) | last;
def is_disqualified: .disqualified_at != null or .disqualified == true or .disqualify_reason_id != null;
def no_placement: {fail: "not_found", message: "the candidate is not in offer \(.job)"};

# ---- stage and rejection

def stages: [.got.offer.body.offer.pipeline_template.stages[]?];

def stage:
  if .got.candidate == null then candidate_lookup
  elif placement == null then no_placement
  elif .got.offer == null then
    {
      lookup: "offer",
      list: ["offer", "pipeline_template", "stages"],
      cache: "15m",
      request: {method: "GET", path: ["offers", .job]}
    }
  else
    placement as $placement
    | stages as $stages
    | .write.stage as $wanted
    | ($stages | pick($wanted)) as $to
    | ([$stages[] | select(.id == $placement.stage_id)] | first) as $now
    | (.write.only_from // []) as $from
    | if $to == null then
        {
          fail: "configuration",
          message: "there is no stage \"\($wanted)\" in offer \(.job); it has: \($stages | names)"
        }
      elif ($placement | is_disqualified) then {skip: "the candidate is disqualified for this offer"}
      elif $placement.stage_id == $to.id then {already: true}
      elif ($from | length) > 0
           and ([$from[] as $name | [$now | select(. != null)] | pick($name)] | all(. == null))
           and (($placement.stage_id == null and any($from[]; . == "none")) | not)
      then
        {
          skip: ("the candidate is in "
                 + (if $placement.stage_id == null then "no stage of this job yet"
                    else "stage \"\($now.name // $placement.stage_id)\"" end)
                 + ", the mapping moves only from: " + ($from | join(", ")))
        }
      else
        {request: {method: "PATCH", path: ["placements", $placement.id, "change_stage"], body: {stage_id: $to.id}}}
      end
  end;

def reasons_lookup:
  {
    lookup: "reasons",
    list: ["disqualify_reasons"],
    cache: "15m",
    request: {method: "GET", path: ["disqualify_reasons"]}
  };
def reasons: [.got.reasons.body.disqualify_reasons[]?];

def reject:
  if .got.candidate == null then candidate_lookup
  elif placement == null then no_placement
  elif (placement | is_disqualified) then {already: true}
  elif .got.reasons == null then reasons_lookup
  else
    .write.reason as $wanted
    | (reasons | pick($wanted)) as $reason
    | if $reason == null then
        {
          fail: "configuration",
          message: "there is no disqualify reason \"\($wanted)\" in Recruitee; it has: \(reasons | names)"
        }
      else
        {
          request: {
            method: "PATCH",
            path: ["placements", placement.id, "disqualify"],
            body: {disqualify_reason_id: $reason.id}
          }
        }
      end
  end;

# ---- profile fields, one at a time

def is_yes: tostring | ascii_downcase | . == "true" or . == "yes" or . == "1";

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

# The list of values as the kind of field wants it, or null if the kind is none of those that can be written.
def values_for($kind; $value):
  if $kind == "single_line" or $kind == "multi_line" then [{text: ($value | tostring)}]
  elif $kind == "dropdown" then [($value | if type == "array" then .[] else . end) | {value: tostring}]
  elif $kind == "boolean" then
    [{flag: ($value | is_yes)}]
  elif $kind == "date" then [{date: ($value | tostring | .[0:10])}]
  elif $kind == "number" then [{number: ($value | exact_number? // $value)}]
  else null
  end;

def of_fields: ["custom_fields", "candidates", .candidate.id, "fields"];

def fields:
  if .got.candidate == null then candidate_lookup
  else
    (.write.fields | to_entries | first) as $wish
    | [candidate.fields[]?] as $there
    | ($there | pick($wish.key)) as $field
    | values_for($field.kind; $wish.value) as $values
    | if $field == null then
        {
          fail: "configuration",
          message: "there is no profile field \"\($wish.key)\" in Recruitee; it has: \($there | names)"
        }
      elif $wish.value == null then
        (if $field.id == null or ($field.values // []) == [] then {already: true}
         else {request: {method: "DELETE", path: (of_fields + [$field.id])}}
         end)
      elif $values == null then
        {
          fail: "configuration",
          message: "profile field \"\($field.name)\" is of the kind \($field.kind), which cannot be written"
        }
      elif $field.values == $values then {already: true}
      else
        {
          request: {
            method: (if $field.id == null then "POST" else "PATCH" end),
            path: (of_fields + (if $field.id == null then [] else [$field.id] end)),
            body: {field: {name: $field.name, kind: $field.kind, values: $values}}
          }
        }
      end
  end;

# ---- tags: a POST adds

def tag_names: [candidate.tags[]? | if type == "object" then .name else . end | select(type == "string")];

def tags:
  if .got.candidate == null then candidate_lookup
  else
    (tag_names | map(ascii_downcase)) as $there
    | [.write.tags[] | select((ascii_downcase) as $low | any($there[]; . == $low) | not)] as $new
    | if $new == [] then {already: true}
      else {request: {method: "POST", path: (of_candidate + ["tags"]), body: {tags: $new}}}
      end
  end;

# ---- notes

def note: {request: {method: "POST", path: (of_candidate + ["notes"]), body: {note: {body: .write.text}}}};

def pages: .got.notes // [];
def is_last: (.body.notes // []) | length < page_size;

def find_marker:
  .write.marker as $marker
  # a body may be text or a document of its own format
  | if any(pages[].body.notes[]?; .body | tostring | contains("[" + $marker + "]")) then {found: true}
    elif (pages | length) >= pages_max or ((pages | length) > 0 and (pages | last | is_last)) then {found: false}
    else
      {
        lookup: "notes",
        append: true,
        list: ["notes"],
        request: {
          method: "GET",
          path: (of_candidate + ["notes"]),
          query: {page: ((pages | length) + 1), limit: page_size}
        }
      }
    end;

# Read-only, small, and only a member of the company gets it.
def probe: if .got.reasons == null then reasons_lookup | del(.cache) else {already: true} end;
