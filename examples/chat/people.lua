-- people.lua -- the connected users and their names, for all workers.
--
-- A name belongs to one connection at a time; ada and Ada are the same name. A new connection with
-- the ticket of the name's holder takes the name. The claim in the store decides which connection
-- has the name, and the worker of the old connection closes it when the new one joins. Sends no
-- messages.

local check = require "check"
local tw = require "tidewire"

local REPLACED = 4001 -- the close code: the client must not reconnect by itself

local people = {}

-- A name in lower case -> "id username ticket"; the same with "\nroom" -> the room it is in.
local claims = tw.shared("chat.claims")

-- This worker's connections by their names in lower case. Other workers see them join, because all
-- are in a room that no client can name.
local here = tw.keep("chat.here")
local all = tw.room("@all")

local function claim_of(conn)
  return ("%s %s %s"):format(conn.id, conn.username, conn.ticket or "")
end

-- The id, username and ticket of the name's holder; nil without one.
local function holder_of(key)
  return (claims:get(key) or ""):match("^(%S+) (%S+) (%S*)$")
end

-- Closes this worker's connection of that name, unless it is the name's holder.
local function make_way(key)
  local conn = here[key]
  if conn and conn.id ~= holder_of(key) then
    here[key] = nil
    conn:close(REPLACED, "replaced by a newer connection")
  end
end

all:watch(function(event, member)
  if event == "join" then
    make_way(member.info.key)
  end
end)

-- Claims a free name for a connection without one, or whose name is taken.
local function claim_free_name(conn, beginning)
  local cut = utf8.offset(beginning, check.LONGEST_NAME - 7) -- room for "_" and the number
  if cut then
    beginning = beginning:sub(1, cut - 1)
  end
  local range = 9000
  repeat
    conn.username = ("%s_%d"):format(beginning, math.random(1000, 999 + range))
    range = range * 2 -- use five digits where four are taken
    local is_free, problem = claims:add(conn.username:lower(), claim_of(conn))
    assert(is_free ~= nil, problem)
  until is_free
end

local function claim_name(conn, wanted)
  conn.username = wanted
  if claims:add(wanted:lower(), claim_of(conn)) then
    return nil
  end
  local id, username, ticket = holder_of(wanted:lower())
  if id and conn.ticket and conn.ticket == ticket then
    conn.username = username
    claims:set(username:lower(), claim_of(conn))
    return claims:get(username:lower() .. "\nroom")
  end
  claim_free_name(conn, wanted)
end

--- Sets the connection's `username`: the wanted name, unless another user has it. Where the
--- connection replaces an older one, the result is the room of that one.
---@param conn tidewire.Conn  with wanted_name and ticket, both of which may be nil
---@return string|nil room
function people.enter(conn)
  local room
  if conn.wanted_name then
    room = claim_name(conn, conn.wanted_name)
  else
    claim_free_name(conn, "user")
  end
  local key = conn.username:lower()
  make_way(key)
  here[key] = conn
  conn:join(all.name, { key = key })
  return room
end

--- Stores the connection's room, for a connection that replaces it.
---@param conn tidewire.Conn
function people.move(conn)
  claims:set(conn.username:lower() .. "\nroom", conn.room)
end

--- Frees the connection's name. Returns false if another connection has replaced it.
---@param conn tidewire.Conn
---@return boolean left
function people.leave(conn)
  local key = conn.username:lower()
  if here[key] == conn then
    here[key] = nil
  end
  if holder_of(key) ~= conn.id then
    return false
  end
  claims:delete(key)
  claims:delete(key .. "\nroom")
  return true
end

--- The number of users.
---@return integer
function people.count()
  return all:size()
end

return people
