-- Checks the glossary of docs/architecture.md against the headers: every struct that a header
-- declares has its row, and every tag of the glossary is a struct of a header.
--
--   lua5.4 scripts/check_glossary.lua [TOP]      TOP: the top of the source tree (default: .)
--
-- A tag is declared by a line that begins with `struct NAME {` or `struct NAME;` in a header below
-- src/. The glossary's words are the names in backquotes in the first column of the tables under
-- "## Glossary". Compares names, not sentences.

local top = arg[1] or "."
local page = "docs/architecture.md"

---Structs of other libraries that our headers declare.
local foreign = { ssl_ctx_st = true }

local function read(path)
  local file <close> = assert(io.open(top .. "/" .. path), path .. " cannot be read")
  return file:read "a"
end

---tag -> the first header that declares it, in the order of paths
local declared = {}
local pipe = assert(io.popen(("cd '%s' && find src -name '*.h' | sort"):format(top)))
for path in pipe:lines() do
  local text = "\n" .. read(path):gsub("/%*.-%*/", "")
  for tag in text:gmatch "\nstruct ([%l%d_]+)%s*[{;]" do
    if not foreign[tag] then declared[tag] = declared[tag] or path end
  end
end
assert(pipe:close(), "src/ could not be listed")

local problems = 0
local function problem(path, text, ...)
  problems = problems + 1
  print(("%s: %s"):format(path, text:format(...)))
end

local glossary = (read(page) .. "\n## "):match "\n## Glossary\n(.-)\n## " or ""
local explained = {}
for cell in glossary:gmatch "\n|([^|\n]*)|" do
  for tag in cell:gmatch "`([^`]+)`" do
    explained[tag] = true
    if not declared[tag] then
      problem(page, "the glossary has `%s`, which no header declares", tag)
    end
  end
end

local missing = {}
for tag in pairs(declared) do
  if not explained[tag] then missing[#missing + 1] = tag end
end
table.sort(missing)
for _, tag in ipairs(missing) do
  problem(declared[tag], "struct %s is not in the glossary of %s", tag, page)
end

if problems > 0 then
  print(("check_glossary: %d problem%s"):format(problems, problems == 1 and "" or "s"))
  os.exit(1)
end
