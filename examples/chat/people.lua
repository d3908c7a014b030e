-- people.lua -- who is connected under which name.
--
-- A name belongs to one connection at a time; ada and Ada are the same. Who brings the session of the one who
-- has the name takes it over. Knows no rooms and sends nothing.

local check = require "check"
local tw = require "tidewire"

local people = {}

-- holders: a name in lower case -> its connection; count: how many these are.
local state = tw.keep("chat.people", { holders = {}, count = 0 })
local holders = state.holders

local function free_name(beginning)
  local cut = utf8.offset(beginning, check.LONGEST_NAME - 7) -- room for "_" and the number
  if cut then
    beginning = beginning:sub(1, cut - 1)
  end
  local range = 9000
  while true do
    local name = ("%s_%d"):format(beginning, math.random(1000, 999 + range))
    if not holders[name:lower()] then
      return name
    end
    range = range * 2 -- where four digits are taken, there are five
  end
end

--- Gives the connection its `username`: the one it wants, unless someone else has it. Returns the connection
--- whose place it takes, if it does.
---@param conn tidewire.Conn  with wanted_name and session, both of which may be nil
---@return tidewire.Conn|nil old
function people.enter(conn)
  local wanted = conn.wanted_name
  local holder = wanted and holders[wanted:lower()]
  if holder and conn.session and holder.session == conn.session then
    conn.username = holder.username
    holders[wanted:lower()] = conn
    return holder
  end
  if not wanted or holder then
    wanted = free_name(wanted or "user")
  end
  conn.username = wanted
  holders[wanted:lower()] = conn
  state.count = state.count + 1
end

--- Frees the connection's name. False if another has taken it over.
---@param conn tidewire.Conn
---@return boolean left
function people.leave(conn)
  local name = conn.username and conn.username:lower()
  if not name or holders[name] ~= conn then
    return false
  end
  holders[name] = nil
  state.count = state.count - 1
  return true
end

--- How many there are.
---@return integer
function people.count()
  return state.count
end

return people
