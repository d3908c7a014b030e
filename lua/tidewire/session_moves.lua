-- session_moves.lua -- sessions whose clients come back to another machine of the cluster.
--
-- C holds the handshake of such a client and causes the event `fetch_session`. This module asks the
-- cluster for the session, and takes it; then the handshake goes on, and finds the session as one
-- that has always been here. Where there is none, or the cluster does not answer, the client gets a
-- new one. docs/decisions/sessions.md says how a session moves.

local Conn = require "tidewire.conn"
local cluster = require "tidewire.cluster"
local core = require "tidewire.core"
local registry = require "tidewire.registry"

local moves = {}

--- What the body of a request to the link begins with: src/cluster/node/cluster_sessions.c.
local FETCH <const>, TAKEN <const>, REFUSED <const> = "F", "T", "R"

--- The handshake goes on, however the fetch ends.
local Held = { __close = function(held) core.handshake_go_on(held.handshake) end }

--- Drops a session whose object cannot be made.
local Taking = {
  __close = function(taking)
    if not taking.is_done then
      core.session_object(taking.id)
    end
  end,
}

local function endpoint_of(number)
  for _, endpoint in ipairs(registry.endpoints) do
    if endpoint.number == number then
      return endpoint
    end
  end
end

--- Makes a session of what the other machine has given. Returns its integer and the number of its
--- last message, or nil and why not.
local function take(bytes)
  local id, number, last, fields, rest = core.session_receive(bytes)
  if not id then
    return nil, number
  end
  local taking <close> = setmetatable({ id = id }, Taking)
  core.session_object(id, Conn.restore(id, endpoint_of(number), fields, rest))
  taking.is_done = true
  return id, last
end

--- C's event: another machine may have the session with this secret.
---@param handshake integer  of its client; C gets it back
---@param secret string
function moves.fetch(handshake, secret)
  local _ <close> = setmetatable({ handshake = handshake }, Held)
  local status, bytes = cluster.request("session", FETCH .. secret)
  if status ~= "ok" or bytes == "" then
    return
  end
  local id, last = take(bytes)
  if not id then
    core.log("error", "session_lost", nil, "why",
      "a session of another machine has no place here: " .. tostring(last))
    cluster.request("session", REFUSED .. secret)
    return
  end
  local answered, late = cluster.request("session", TAKEN .. secret)
  if answered == "ok" then
    core.session_insert(id, last, late)
  end
end

return moves
