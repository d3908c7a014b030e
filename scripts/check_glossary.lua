-- Checks the glossary of docs/architecture.md against the headers: every struct that a header
-- declares has its row, and every tag of the glossary is a struct of a header.
--
--   lua5.4 scripts/check_glossary.lua [TOP]      TOP: the top of the source tree (default: .)
--
-- A tag is declared by a line that begins with `struct NAME {` or `struct NAME;` in a header below
-- src/. The glossary's words are the names in backquotes in the first column of the tables under
-- "## Glossary". Compares names, not sentences.

package.path = arg[0]:match "^.*/" .. "?.lua;" .. package.path
local checking = require "checking"

local page = "docs/architecture.md"

---Structs of other libraries that our headers declare.
local foreign = { ssl_ctx_st = true }

---tag -> the first header that declares it, in the order of paths
local declared = {}
for _, path in ipairs(checking.list("src", "*.h")) do
  local text = "\n" .. checking.read(path):gsub("/%*.-%*/", "")
  for tag in text:gmatch "\nstruct ([%l%d_]+)%s*[{;]" do
    if not foreign[tag] then declared[tag] = declared[tag] or path end
  end
end

local glossary = (checking.read(page) .. "\n## "):match "\n## Glossary\n(.-)\n## " or ""
local explained = {}
for cell in glossary:gmatch "\n|([^|\n]*)|" do
  for tag in cell:gmatch "`([^`]+)`" do
    explained[tag] = true
    if not declared[tag] then
      checking.problem(page, "the glossary has `%s`, which no header declares", tag)
    end
  end
end

for _, tag in ipairs(checking.sorted(declared)) do
  if not explained[tag] then
    checking.problem(declared[tag], "struct %s is not in the glossary of %s", tag, page)
  end
end

checking.finish()
