-- Checks that the program's help, its manual page and the options that it reads name the same
-- things.
--
--   lua5.4 scripts/check_man.lua [TOP]           TOP: the top of the source tree (default: .)
--
-- Compared are commands, options, environment variables, signals and exit codes of settings.lua and
-- help.lua in lua/tidewire/cli and of man/tidewire.1. Prints what is missing and where, and fails
-- then. Compares names, not sentences.

package.path = arg[0]:match "^.*/" .. "?.lua;" .. package.path
local checking = require "checking"
local names, read = checking.names, checking.read

---The text of the manual page: no requests, no fonts, no escapes.
local function plain(roff)
  local text = roff:gsub("\n%.SH[^\n]*", ""):gsub("\n%.[A-Z]+", "\n")
  return (text:gsub("\\f[A-Z]", ""):gsub("\\%-", "-"):gsub('"', ""))
end

local source = read "lua/tidewire/cli/settings.lua"
local page = read "man/tidewire.1"
local texts = {
  { path = "lua/tidewire/cli/settings.lua" },
  { path = "lua/tidewire/cli/help.lua", text = read "lua/tidewire/cli/help.lua" },
  { path = "man/tidewire.1", text = plain(page) },
}

local command_table = assert(source:match "COMMANDS = (%b{})", "there are no commands")
local option_table = assert(source:match "OPTIONS = (%b{})", "there are no options")

-- What settings.lua reads, and how texts show it. What app.lua reads of the environment stands in
-- the texts alone.
local kinds = {
  {
    what = "option",
    own = names(option_table, '{ name = "(%-%-[%l-]+)"'),
    pattern = "%f[%-](%-%-%l[%l-]+)",
  },
  {
    what = "variable",
    own = names(option_table, '"(TIDEWIRE_[%u_]+)"'),
    pattern = "(TIDEWIRE_[%u_]+)",
  },
  { what = "signal", own = {}, pattern = "(SIG%u[%u%d]+)" },
  { what = "variable of systemd", own = {}, pattern = "(%u+_FDS)" },
}
local also_options = { ["--help"] = true, ["--version"] = true }

local function compare(here, there, what, path, other_path)
  for _, name in ipairs(checking.sorted(here)) do
    if not there[name] then
      checking.problem(nil, "the %s %s is in %s, but not in %s", what, name, path, other_path)
    end
  end
end

for _, kind in ipairs(kinds) do
  local sets = { kind.own }
  for i = 2, #texts do sets[i] = names(texts[i].text, kind.pattern) end
  if kind.what == "option" then
    for name in pairs(also_options) do sets[1][name] = true end
  end
  compare(sets[1], sets[2], kind.what, texts[1].path, texts[2].path)
  compare(sets[2], sets[3], kind.what, texts[2].path, texts[3].path)
  compare(sets[3], sets[2], kind.what, texts[3].path, texts[2].path)
  if kind.what == "option" then
    compare(sets[2], sets[1], kind.what, texts[2].path, texts[1].path)
  end
end

-- Commands stand before what they do: in the help behind two blanks, in the page as the tag of a
-- paragraph.
local commands = names(command_table, "(%l+) = true")
local in_help, in_page = {}, {}
for line in texts[2].text:match("Usage:.-\n(\n.-\n)\n"):gmatch "\n  (%l[%l, ]-)  " do
  for name in line:gmatch "%l+" do in_help[name] = true end
end
for line in page:match("%.SH COMMANDS(.-)\n%.SH"):gmatch "\n%.TP\n(%.B[^\n]*)" do
  for name in line:gsub('"', ""):gsub("\\%S*", ""):gmatch "%f[%l](%l+)%f[%L]" do
    in_page[name] = true
  end
end
compare(commands, in_help, "command", texts[1].path, texts[2].path)
compare(in_help, commands, "command", texts[2].path, texts[1].path)
compare(commands, in_page, "command", texts[1].path, texts[3].path)
compare(in_page, commands, "command", texts[3].path, texts[1].path)

checking.finish()
