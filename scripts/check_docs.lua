-- Checks that the files and folders which the documentation names exist, and that the README's tour
-- names every folder of the source and every C file above the base.
--
--   lua5.4 scripts/check_docs.lua [TOP]          TOP: the top of the source tree (default: .)
--
-- A file is named by its base name (`outq.c`), by the end of its path (`core/frames/outq.c`) or
-- from the top (`src/core/frames/outq.c`); a star stands for a part of a name. Looks at the pages
-- below, and at the README from its tour on. Whether what is said of a file is true is the reader's
-- to judge.

package.path = arg[0]:match "^.*/" .. "?.lua;" .. package.path
local checking = require "checking"

---The pages, and where in them the look begins.
local pages = {
  { path = "README.md", from = "\n## A tour of the source\n", to = "\n## Tests\n" },
  { path = "CONTRIBUTING.md" },
  { path = "docs/architecture.md" },
  { path = "docs/testing.md" },
}

---Folders that the pages name before they are there. Take out what is.
local planned = { "src/cluster" }

---What a path begins with: folders at the top, and the parts of src/.
local roots = {}
for name in ("src lua tests scripts docs examples bench cmake man"
  .. " base core net script server cluster"):gmatch "%l+" do
  roots[name] = true
end

---Ends of names that are files wherever they stand in a text.
local endings = { c = true, h = true, lua = true }

---Every file, and every folder that has one.
local files, folders = {}, {}
for _, path in ipairs(checking.all_files()) do
  files[#files + 1] = "/" .. path
  local folder = path:match "^(.*)/"
  while folder and not folders["/" .. folder] do
    folders["/" .. folder] = true
    folder = folder:match "^(.*)/"
  end
end

---Is there a file or a folder whose path ends so?
local known = {}
local function exists(name)
  if known[name] == nil then
    local pattern = "/" .. name:gsub("/$", ""):gsub("[%-.]", "%%%0"):gsub("%*", "[^/]*") .. "$"
    local found = false
    for _, path in ipairs(files) do found = found or path:find(pattern) ~= nil end
    for path in pairs(folders) do found = found or path:find(pattern) ~= nil end
    known[name] = found
  end
  return known[name]
end

for _, name in ipairs(planned) do known[name] = true end

---The text of a page between two headings; nil where there is no page.
local function read(page)
  local text = checking.find_text(page.path)
  if not text then return checking.problem(page.path, "is missing") end
  text = text:gsub("\n```lua\n.-\n```", "") -- examples have files of their own
  if not page.from then return text end
  local from = text:find(page.from, 1, true)
  if not from then return checking.problem(page.path, "has no heading %q", page.from) end
  return text:sub(from, text:find(page.to, from, true))
end

---Calls visit(name) for each file or folder that a text names.
local function each_name(text, visit)
  for word in text:gmatch "[%w_*./-]+" do
    local ending = word:match "[%w_*]%.(%l+)$"
    if endings[ending] and not word:find "^[/.]" then visit(word) end
  end
  local function path(word)
    local root = word:match "^(%l+)/[%w_*./-]+$"
    if roots[root] then visit(word) end
  end
  for word in text:gmatch "`([^`\n]+)`" do path(word) end
  for word in text:gmatch "%]%(([^%s()#]+)" do path(word) end
end

for _, path in ipairs(checking.list("docs/decisions", "*.md")) do
  pages[#pages + 1] = { path = path }
end

for _, page in ipairs(pages) do
  local text = read(page)
  local seen = {}
  if text then
    each_name(text, function(name)
      if not exists(name) and not seen[name] then
        seen[name] = true
        checking.problem(page.path, "there is no %s", name)
      end
    end)
  end
end

---Every folder of the source, from the parts of src/ down, is named in the tour.
local tour = read(pages[1]) or ""
for _, folder in ipairs(checking.sorted(folders)) do
  local name = folder:match "^/(src/.+)$" or folder:match "^/(lua/tidewire/?.*)$"
  if name and not tour:find(name:gsub("[%-.]", "%%%0") .. "[/`)]") then
    checking.problem("README.md", "the tour of the source does not name %s", name)
  end
end

---Every C file of the parts, but those of `src/base` and of the libraries behind a Lua module.
for _, path in ipairs(files) do
  local name = path:match "^/src/.*/([%w_]+%.c)$"
  if name and not path:find "^/src/base/" and not path:find "^/src/script/[jh]"
    and not tour:find("[/`]" .. name:gsub("%.", "%%.") .. "[`)]") then
    checking.problem("README.md", "the tour of the source does not name %s", path:sub(2))
  end
end

checking.finish()
