-- docs_names_spec.lua -- scripts/check_docs.lua finds names of missing files in the pages, and
-- folders that the tour leaves out: each case spoils one thing in a copy.

local spoiled = require "support.spoiled"

local page = "docs/architecture.md"

describe("scripts/check_docs.lua", function()
  spoiled("scripts/check_docs.lua",
    "mkdir -p TOP && git ls-files -co --exclude-standard"
      .. " | grep -v ^examples/.*/public/ | tar cf - -T - | tar xf - -C TOP"
      .. " && mkdir TOP/lua/tidewire/cave && touch TOP/lua/tidewire/cave/a.lua"
      .. " && sed -i \"s,^## Tests,[cave](lua/tidewire/cave)\\n\\n&,\" TOP/README.md", {
    { "a base name that is no file", page, "$", "See `outbocks.c`.\n",
      page .. ": there is no outbocks.c" },
    { "the end of a path that is no file", page, "$", "See `nowhere/outq.h`.\n",
      page .. ": there is no nowhere/outq.h" },
    { "a path from the top", "CONTRIBUTING.md", "`scripts/check_man%.lua`", "`scripts/check_woman`",
      "CONTRIBUTING.md: there is no scripts/check_woman" },
    { "a folder that is not there", page, "$", "It is in `core/attic`.\n",
      "there is no core/attic" },
    { "a star that stands for nothing", "docs/testing.md", "test_%*%.c", "tests_*.c",
      "there is no tests/unit/tests_*.c" },
    { "a name in a picture", page, "\nout     conn:send", "\nout     cone.c -> conn:send",
      "there is no cone.c" },
    { "a file of a decision", "docs/decisions/tls.md", "$", "`net/tsl.c`\n",
      "docs/decisions/tls.md: there is no net/tsl.c" },
    { "a file of the tour", "README.md", "\n## Tests\n", "\n`walker.c`%0", "there is no walker.c" },
    { "a folder that the tour leaves out", "README.md", "%[cave%]%(lua/tidewire/cave%)", "",
      "the tour of the source does not name lua/tidewire/cave" },
    { "a file that the tour leaves out", "README.md", "`mime%.c`, ", "",
      "the tour of the source does not name src/net/http/mime.c" },
    { "a page that is gone", "README.md", "\n## A tour of the source", "\n## A tour",
      "has no heading" },
  })
end)
