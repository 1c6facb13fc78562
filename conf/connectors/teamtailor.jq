# teamtailor - Teamtailor, API v1 (JSON:API) and, for assessments, the partner API.
#
# Base URL: https://api.teamtailor.com, North America api.na.teamtailor.com: setting "host"; paths begin with v1 or
#   partner/v1.
# Auth: Authorization: Token token=KEY, an admin key with read and write; every request needs the dated X-Api-Version.
#   The partner API wants the key of an activated partner integration: a connector of its own, see the notes.
# Limits: 50 requests in 10 seconds (unverified); X-Rate-Limit-Reset is the number of seconds left.
#
# Ids: .candidate.id is the candidate's id, the job is the job's id. Stage and rejection belong to the job application.
# Sources: the vendor's API documentation (2021) and partner documentation (2026-06), both read; a third party's client.
# Unverified: the host of North America; that PATCH of a job application takes the relationship "stage" (from the
#   client) and, to reject, "rejected-at" with "reject-reason" (both are documented as members, writing them is not);
#   that PATCH of tags replaces them; filter[candidate] of notes; jobs/ID/stages; that null clears a custom field; the
#   rate.
# Traps: page[size] is at most 30. A custom field's value is a record of its own: the first one is created, later ones
#   changed by their id. Choices are written as ids of options. Moving may start triggers of the stage, e-mails
#   included. A partner result can be changed only by the id that its creation or the vendor's webhook told, so each new
#   assessment is a result of its own; its grade is one of four words.

def meta: {
  name: "teamtailor",
  title: "Teamtailor",
  base_url: "https://{host}",
  settings: {
    host: {
      default: "api.teamtailor.com",
      pattern: "api(\\.na)?\\.teamtailor\\.com",
      help: "api.teamtailor.com, or api.na.teamtailor.com for accounts in North America"
    },
    user_id: {required: false, pattern: "[0-9]+", help: "the id of the Teamtailor user who writes our notes; needed for notes"},
    grades: {
      default: "PASSED_CRITERIA=top_fit, FAILED_CRITERIA=might_not_be_fit",
      pattern: "( *[^=,]+=(top_fit|might_be_fit|might_not_be_fit|unknown) *(,|$))*",
      help: "assessment: which grade a result gets, as RESULT=grade, …; grades are top_fit, might_be_fit, might_not_be_fit and unknown, a result that is not listed gets none"
    },
    score_max: {default: "100", pattern: "[1-9][0-9]*", help: "assessment: the score that is worth Teamtailor's 100"},
    auth_scheme: {
      default: "Token token=",
      pattern: "Token token=|Token |Bearer ",
      help: "what stands before the key: \"Token token=\", or for the partner API \"Token \" or \"Bearer \", with the space at its end"
    }
  },
  credentials: {
    api_key: {help: "an API key of scope Admin with read and write: Teamtailor, Settings, Integrations, API keys; for assessments the key of the partner integration"}
  },
  auth: {kind: "header", name: "Authorization", value: "{auth_scheme}{api_key}"},
  headers: {"X-Api-Version": "20240904", "Accept": "application/vnd.api+json"},
  rate: {count: 50, per_ms: 10000, remaining: "x-rate-limit-remaining"},
  concurrency: 4,
  timeout_ms: 30000,
  content_type: "application/vnd.api+json",
  retry_after: [{header: "X-Rate-Limit-Reset", unit: "seconds"}],
  capabilities: {
    stage: {needs_job: true, only_from: true},
    reject: {needs_job: true},
    fields: {},
    tags: {batch: true},
    note: {max_chars: 10000, find_marker: true},
    assessment: {needs_job: true, max_chars: 10000}
  },
  probe: true,
  notes: [
    "The candidate's external id must be Teamtailor's candidate id, the workflow's job the id of the job.",
    "A stage is one of the job's stages, by name or id; a reason one of the account's reject reasons.",
    "An application that is rejected is not moved.",
    "Fields are custom fields, by name, api-name or id. Choices are given by the option's text or id.",
    "Notes need settings.user_id.",
    "assessment uses the partner API (partner results), which takes only the key of an activated partner integration: give it a connector of its own, with that key and auth_scheme \"Token \" or \"Bearer \".",
    "Moves and rejections may start triggers of the account, e-mails to candidates included: check them in Teamtailor.",
    "unverified: the members by which an application is moved and rejected, that tags are replaced as a whole, the filter by which our own notes are looked for, that null clears a field, the host for North America, the rate.",
    "An assessment that changes is a second partner result beside the first: results can only be changed by an id that the vendor's own webhook tells."
  ]
};

# ---- lists: JSON:API with page numbers

def page_size: 30;
def pages_max: 10;

def items_of($lookup): [(.got[$lookup] // [])[].body.data[]?];
def is_whole($lookup):
  (.got[$lookup] // []) as $pages
  | ($pages | length) > 0
    and (($pages | length) >= pages_max or ($pages | last | .body.links.next // null) == null);
def page($lookup; $path; $query; $cache):
  {
    lookup: $lookup,
    append: true,
    list: ["data"],
    request: {
      method: "GET",
      path: $path,
      query: ($query + {"page[size]": page_size, "page[number]": (((.got[$lookup] // []) | length) + 1)})
    }
  }
  + (if $cache == null then {} else {cache: $cache} end);

# The one that has this id or text: the text exactly, else whatever the case of its letters; null if there is none.
def pick($wanted; text):
  ($wanted | ascii_downcase) as $low
  | first((.[] | select((.id | tostring) == $wanted)),
          (.[] | select(text == $wanted)),
          (.[] | select((text | type) == "string" and (text | ascii_downcase) == $low)),
          null);
def texts(text): map(text | select(type == "string")) | join(", ");

# The id that a relationship leads to; null: none, or not told.
def related($name): .relationships[$name].data | if type == "object" then (.id | tostring) else null end;
def link($type; $id): {data: {type: $type, id: ($id | tostring)}};

def of_candidate: ["v1", "candidates", .candidate.id];

# ---- the job application

def applications_page: page("applications"; of_candidate + ["job-applications"]; {include: "job,stage"}; null);
# Of several the one that is not rejected, of these the newest.
def application:
  .job as $job
  | [items_of("applications")[] | select(related("job") == $job)]
  | sort_by([(.attributes["rejected-at"] == null), (.attributes["created-at"] // "")]) | last;
def no_application: {fail: "not_found", message: "the candidate has no application for job \(.job)"};

def patch_application($id; $members):
  {
    request: {
      method: "PATCH",
      path: ["v1", "job-applications", $id],
      body: {data: ({id: ($id | tostring), type: "job-applications"} + $members)}
    }
  };

def stage:
  if (is_whole("applications") | not) then applications_page
  elif application == null then no_application
  elif (is_whole("stages") | not) then page("stages"; ["v1", "jobs", .job, "stages"]; {}; "15m")
  else
    application as $application
    | items_of("stages") as $stages
    | .write.stage as $wanted
    | ($stages | pick($wanted; .attributes.name)) as $to
    | ($application | related("stage")) as $now_id
    | ([$stages[] | select((.id | tostring) == $now_id)] | first) as $now
    | (.write.only_from // []) as $from
    | if $to == null then
        {
          fail: "configuration",
          message: "there is no stage \"\($wanted)\" in job \(.job); it has: \($stages | texts(.attributes.name))"
        }
      elif $application.attributes["rejected-at"] != null then {skip: "the application is rejected"}
      elif $now_id == ($to.id | tostring) then {already: true}
      elif ($from | length) > 0
           and ([$from[] as $name | [$now | select(. != null)] | pick($name; .attributes.name)] | all(. == null))
           and (($now_id == null and any($from[]; . == "none")) | not)
      then
        {
          skip: ("the candidate is in "
                 + (if $now_id == null then "no stage of this job yet"
                    else "stage \"\($now.attributes.name // $now_id)\"" end)
                 + ", the mapping moves only from: " + ($from | join(", ")))
        }
      else patch_application($application.id; {relationships: {stage: link("stages"; $to.id)}})
      end
  end;

def reject:
  if (is_whole("applications") | not) then applications_page
  elif application == null then no_application
  elif application.attributes["rejected-at"] != null then {already: true}
  elif (is_whole("reasons") | not) then page("reasons"; ["v1", "reject-reasons"]; {}; "15m")
  else
    items_of("reasons") as $reasons
    | .write.reason as $wanted
    | ($reasons | pick($wanted; .attributes.reason)) as $reason
    | if $reason == null then
        {
          fail: "configuration",
          message: "there is no reject reason \"\($wanted)\" in Teamtailor; it has: \($reasons | texts(.attributes.reason))"
        }
      else
        patch_application(application.id; {
          attributes: {"rejected-at": (.run.completed_at // .run.started_at)},
          relationships: {"reject-reason": link("reject-reasons"; $reason.id)}
        })
      end
  end;

# ---- custom fields, one at a time: a value is a record of its own

def field_named($wanted):
  items_of("definitions")
  | (pick($wanted; .attributes.name)) as $by_name
  | if $by_name != null then $by_name else pick($wanted; .attributes["api-name"]) end;
def has_options:
  .attributes["field-type"] as $type | $type == "CustomField::Select" or $type == "CustomField::MultiSelect";
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

# {value} as the field's type wants it, or {fail, message}.
def field_value($field; $options; $value):
  $field.attributes["field-type"] as $type
  | if $value == null then {value: null}
    elif ($field | has_options) then
      [($value | if type == "array" then .[] else . end | tostring) as $text
       | {text: $text, option: ($options | pick($text; .attributes.value))}]
      | (map(select(.option == null)) | first) as $none
      | if $none != null then
          {
            fail: "invalid",
            message: "custom field \"\($field.attributes.name)\" takes only: \($options | texts(.attributes.value))"
          }
        elif $type == "CustomField::MultiSelect" then {value: map(.option.id)}
        else {value: .[0].option.id}
        end
    elif $type == "CustomField::Checkbox" then
      {value: ($value | is_yes)}
    elif $type == "CustomField::Number" then
      {value: ($value | exact_number? // $value)}
    elif $type == "CustomField::Date" then {value: ($value | tostring | .[0:10])}
    else {value: ($value | tostring)}
    end;

def fields:
  (.write.fields | to_entries | first) as $wish
  | if (is_whole("definitions") | not) then page("definitions"; ["v1", "custom-fields"]; {}; "15m")
    else
      field_named($wish.key) as $field
      | if $field == null then
          {
            fail: "configuration",
            message: ("there is no custom field \"\($wish.key)\" in Teamtailor; it has: "
                    + (items_of("definitions") | texts(.attributes.name)))
          }
        elif ($field | has_options) and (is_whole("options") | not) then
          page("options"; ["v1", "custom-field-selects", $field.id, "custom-field-options"]; {}; "15m")
        elif (is_whole("values") | not) then
          page("values"; of_candidate + ["custom-field-values"]; {include: "custom-field"}; null)
        else
          field_value($field; items_of("options"); $wish.value) as $made
          | ([items_of("values")[] | select(related("custom-field") == ($field.id | tostring))] | first) as $there
          | if $made.fail != null then $made
            elif ($there == null and $made.value == null) or ($there != null and $there.attributes.value == $made.value)
            then {already: true}
            else
              {
                request: {
                  method: (if $there == null then "POST" else "PATCH" end),
                  path: (["v1", "custom-field-values"] + (if $there == null then [] else [$there.id] end)),
                  body: {
                    data: ((if $there == null then {} else {id: ($there.id | tostring)} end) + {
                      type: "custom-field-values",
                      attributes: {value: $made.value},
                      relationships: {
                        "custom-field": link("custom-fields"; $field.id),
                        owner: link("candidates"; .candidate.id)
                      }
                    })
                  }
                }
              }
            end
        end
    end;

# ---- tags: a PATCH sets all of them

def tags:
  if .got.candidate == null then {lookup: "candidate", request: {method: "GET", path: of_candidate}}
  elif (.got.candidate.body | [.data.attributes?] | map(objects) == []) then
    {fail: "bad_answer", message: "Teamtailor answered without the candidate, so that the tags that are there are not known"}
  else
    (.got.candidate.body.data.attributes.tags // []) as $there
    | (reduce .write.tags[] as $tag
         ($there; if any(.[]; ascii_downcase == ($tag | ascii_downcase)) then . else . + [$tag] end)) as $all
    | if ($all | length) == ($there | length) then {already: true}
      else
        {
          request: {
            method: "PATCH",
            path: of_candidate,
            body: {data: {id: .candidate.id, type: "candidates", attributes: {tags: $all}}}
          }
        }
      end
  end;

# ---- notes

def note:
  if .settings.user_id == null then
    {fail: "configuration", message: "notes need a user who writes them: set the connector's setting user_id"}
  else
    {
      request: {
        method: "POST",
        path: ["v1", "notes"],
        body: {
          data: {
            type: "notes",
            attributes: {note: .write.text},
            relationships: {candidate: link("candidates"; .candidate.id), user: link("users"; .settings.user_id)}
          }
        }
      }
    }
  end;

def find_marker:
  .write.marker as $marker
  | .candidate.id as $candidate
  | if any(items_of("notes")[];
           (.attributes["candidate-id"] == null or (.attributes["candidate-id"] | tostring) == $candidate)
           and (.attributes.note | type == "string" and contains("[" + $marker + "]")))
    then {found: true}
    elif is_whole("notes") then {found: false}
    else page("notes"; ["v1", "notes"]; {"filter[candidate]": $candidate}; null)
    end;

# ---- assessment: a partner result

def number_or_text: if type == "string" and test("\\A[0-9]{1,15}\\z") then tonumber else . end;

# The grade that the setting gives a result; null: none.
def grade($result):
  [.settings.grades | split(",")[] | split("=") | select(length == 2) | map(gsub("^ +| +$"; ""))
   | select(.[0] == $result) | .[1]]
  | first;
def score:
  if .write.score == null then null
  else
    (.write.score * 100 / (.settings.score_max | tonumber) + 0.5 | floor)
    | if . < 0 then 0 elif . > 100 then 100 else . end
  end;

def assessment:
  ({score: score, grade: grade(.write.status)} | with_entries(select(.value != null))) as $assessment
  | {
      request: {
        method: "POST",
        path: ["partner", "v1", "partner-results"],
        body: {
          data: {
            type: "partner-results",
            attributes: ({
              status: "completed",
              "candidate-id": (.candidate.id | number_or_text),
              "job-id": (.job | number_or_text),
              summary: .write.summary
            }
            + (if $assessment == {} then {} else {assessment: $assessment} end)
            + (if .write.status == null then {} else {details: {result: .write.status}} end))
          }
        }
      }
    };

def probe:
  if .got.company == null then {lookup: "company", request: {method: "GET", path: ["v1", "company"]}}
  else {already: true}
  end;
