-- Checks what every source file must have: a first comment that names the file and says what it is
-- for, no blanks at the ends of lines, no tabs, a newline at the end, lines of at most 100 columns.
-- Warns of files above 500 lines, which is no failure.
--
--   lua5.4 scripts/check_files.lua [TOP]         TOP: the folder to look at (default: .)
--
-- Looks at the files that git knows or would take; without git, at all outside build/. Reads text
-- only; what the comment says is the reader's to judge.

package.path = arg[0]:match "^.*/" .. "?.lua;" .. package.path
local checking = require "checking"

local long_file = 500
local columns = 100

---Files whose columns are looked at, beside those that open with a comment.
local prose = { md = true }

---How a first comment begins, by the end of the file's name.
local openings = {
  c = { "^/%*", "^//" },
  h = { "^/%*", "^//" },
  lua = { "^%-%-" },
  cmake = { "^#" },
  py = { "^#", '^"""' },
  js = { "^//", "^/%*" },
  mjs = { "^//", "^/%*" },
  css = { "^/%*" },
  html = { "^<!" },
  sh = { "^#" },
}

---Files without such an end are scripts where they begin with #!.
local function opening_of(path, text)
  local extension = path:match "%.(%w+)$"
  if extension then return openings[extension] end
  if path:find "CMakeLists%.txt$" or text:find "^#!" then return openings.sh end
end

local function problem(path, line, text, ...)
  checking.problem(("%s:%d"):format(path, line), text, ...)
end

---Longer lines than there are columns. In Markdown, tables and code are as they are; a line that
---cannot be broken, because it has no blank behind its beginning, is let be.
local function check_columns(path, text)
  local extension = path:match "%.(%w+)$"
  if not prose[extension] and not opening_of(path, text) then return end
  local number, in_code = 0, false
  for line in text:gmatch "([^\n]*)\n?" do
    number = number + 1
    if prose[extension] and line:find "^```" then in_code = not in_code end
    local is_free = prose[extension] and (in_code or line:find "^%s*|" or line:find "^    ")
      or not line:find "%S%s+%S+%s"
    local width = utf8.len(line) or #line
    if width > columns and not is_free then
      problem(path, number, "%d columns; there are %d", width, columns)
    end
  end
end

local function check(path, text)
  local patterns = opening_of(path, text)
  if not patterns then return end

  local body = text:gsub("^#![^\n]*\n", "")
  local opened = false
  for _, pattern in ipairs(patterns) do
    opened = opened or body:find(pattern) ~= nil
  end
  if not opened then
    problem(path, 1, "opens without a comment that says what the file is for")
  end

  local named = body:match "^%p+ ([%w_]+%.%w+) %-%- "
  if named and named ~= path:match "[^/]+$" then
    problem(path, 1, "opens as %s", named)
  end

  local number = 0
  for line in text:gmatch "([^\n]*)\n" do
    number = number + 1
    if line:find "[ \t\r]$" then problem(path, number, "blanks at the end of the line") end
    if line:find "\t" then problem(path, number, "a tab; indent with spaces") end
  end
  if text ~= "" and text:sub(-1) ~= "\n" then
    problem(path, number + 1, "the last line does not end")
  end
  if number > long_file then
    print(("%s: warning: %d lines; could it be two files?"):format(path, number))
  end
end

for _, path in ipairs(checking.all_files()) do
  local text = checking.find_text(path)
  if text then
    check(path, text)
    check_columns(path, text)
  end
end

checking.finish()
