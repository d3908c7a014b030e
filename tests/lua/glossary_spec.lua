-- glossary_spec.lua -- scripts/check_glossary.lua finds differences between the headers and the
-- glossary of docs/architecture.md: each case spoils one thing in a copy, and the real check must
-- name it.

local spoiled = require "support.spoiled"

local page = "docs/architecture.md"

describe("scripts/check_glossary.lua", function()
  spoiled("scripts/check_glossary.lua",
    "mkdir -p TOP/docs && cp -r src TOP && cp docs/architecture.md TOP/docs"
      .. " && touch TOP/src/new.h", {
    { "a new struct", "src/new.h", "^", "struct new_one {\n",
      "src/new.h: struct new_one is not in the glossary" },
    { "a new struct whose body is elsewhere", "src/new.h", "^", "struct new_one;\n",
      "src/new.h: struct new_one is not in the glossary" },
    { "a row that is gone", page, "\n| `slice` |[^\n]*", "",
      ": struct slice is not in the glossary" },
    { "a word that is gone from a row", page, "`deadlines`, ", "",
      ": struct deadlines is not in the glossary" },
    { "a word that is no struct", page, "\n| `slice` |", "\n| `slice`, `piece` |",
      "the glossary has `piece`, which no header declares" },
  })
end)
