-- Checks that names, comments and documentation use the field's words: the words below are
-- metaphors, or stand for a thing that has a noun.
--
--   lua5.4 scripts/check_words.lua [TOP]         TOP: the top of the source tree (default: .)
--
-- Reads the names and texts of the files below, word by word; `find_seat` has two words. A line in
-- which the plain English word is right goes into `exceptions`. Knows no grammar.

package.path = arg[0]:match "^.*/" .. "?.lua;" .. package.path
local checking = require "checking"

---The files: folders, and pages at the top.
local places = {
  "^src/", "^lua/tidewire/", "^lua/types/", "^docs/", "^scripts/", "^man/", "^cmake/", "^%u+%.md$",
}

---word -> the words to use instead. The plural with -s is meant as well.
local words = {
  anybody = "any client",
  anyone = "any client",
  bell = "wakeup",
  birth = "creation",
  born = "created",
  ceiling = "limit",
  census = "counts",
  commons = "process",
  crew = "workers",
  door = "mailbox, listener, control socket, function",
  ear = "control connection",
  everybody = "all clients, all workers",
  everyone = "all clients, all workers",
  farewell = "drain",
  floors = "layers",
  gate = "handshake server",
  gatekeeper = "handshake server",
  goodbye = "Close frame, drain",
  handover = "upgrade",
  headcount = "counts",
  hear = "receive",
  heard = "received",
  knock = "connect",
  knocker = "client",
  nobody = "no client, no worker, no process",
  prison = "the only file that uses it",
  seat = "entry",
  somebody = "a client, another process",
  someone = "a client, a user",
  succession = "upgrade",
  takeover = "upgrade, activation",
  visitor = "client, connection",
  who = "the client, the caller, the process",
  whoever = "the client, the caller, the process",
  whom = "the client, the connection",
}

---phrase -> the words to use instead
local phrases = {
  ["are told"] = "receive, are called with",
  ["be told"] = "receive, be called with",
  ["comes to nothing"] = "fails",
  ["is told"] = "receives, is called with",
  ["was told"] = "received",
}

---Lines in which such a word is right: a pattern for the path, one for the line in lower case.
local exceptions = {
  { "^scripts/check_words%.lua$", "" },
  { "", "_no_context_takeover" }, -- the name of a parameter in RFC 7692
  { "", "users? who" },
  { "", "persons? who" },
  { "", "engineers who" },
  { "^CONTRIBUTING%.md$", '"who"' },
  { "^docs/", "who you are" }, -- texts of examples
  { "^docs/", "who are you" },
  { "^scripts/bench$", "" }, -- the name of a variable
  { "^src/script/http_client/", "curlopt_nobody" },
  { "^docs/recipes%.md$", "everyone" }, -- the name of a room
  { "^docs/recipes%.md$", "user nobody" }, -- of the system
}

---Folders that do not use these words alone yet. Take out those that do.
local not_yet = {}

local function is_exception(path, line)
  for _, exception in ipairs(exceptions) do
    if path:find(exception[1]) and line:find(exception[2]) then return true end
  end
  return false
end

local function check_line(path, number, line)
  if is_exception(path, line) then return end
  local where = ("%s:%d"):format(path, number)
  for word in line:gmatch "%a+" do
    local better = words[word] or words[word:match "^(.*)s$"]
    if better then checking.problem(where, '"%s": say %s', word, better) end
  end
  for phrase, better in pairs(phrases) do
    if line:find("%f[%a]" .. phrase .. "%f[%A]") then
      checking.problem(where, '"%s": say %s', phrase, better)
    end
  end
end

local function is_checked(path)
  for _, place in ipairs(not_yet) do
    if path:find(place) then return false end
  end
  for _, place in ipairs(places) do
    if path:find(place) then return true end
  end
  return false
end

for _, path in ipairs(checking.all_files()) do
  local text = is_checked(path) and checking.find_text(path)
  if text and not text:find "\0" then
    check_line(path, 0, path:lower())
    local number = 0
    for line in text:lower():gmatch "([^\n]*)\n" do
      number = number + 1
      check_line(path, number, line)
    end
  end
end

checking.finish()
