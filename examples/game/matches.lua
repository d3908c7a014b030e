-- matches.lua -- all running matches: chooses the match of a player, and ends empty ones.
--
-- A match begins with its first player and ends with its last. Only the sums of its figures remain.

local match = require "match"
local settings = require "settings"
local tw = require "tidewire"

local matches = {}

local running = {} -- by their names
local past = { started = 0, ended = 0, ticks = 0, skipped = 0 } -- ticks of matches that have ended

local function count()
  return past.started - past.ended
end

--- Adds a connection to the match of that name, and begins the match where necessary.
---@param conn tidewire.Conn
---@param match_name string
---@param player_name string
---@return true|nil ok
---@return string|nil why_not  for the person
function matches.enter(conn, match_name, player_name)
  local found = running[match_name]
  if found and found:is_full() then
    return nil, ("this match is full: %d play in it"):format(found.people)
  end
  if not found then
    if count() >= settings.matches then
      return nil, ("there are %d matches, which is all there can be"):format(count())
    end
    found = match.new(match_name)
    running[match_name] = found
    past.started = past.started + 1
    tw.log.info("match begins", { match = match_name })
  end
  conn.match = found
  found:join(conn, player_name)
  return true
end

--- The connection has closed. Ends its match if no player is left.
---@param conn tidewire.Conn
function matches.leave(conn)
  local left = conn.match
  left:leave(conn)
  if left.people > 0 then
    return
  end
  left:stop()
  running[left.name] = nil
  past.ended = past.ended + 1
  past.ticks, past.skipped = past.ticks + left.ticks, past.skipped + left.skipped
  tw.log.info("match ends", { match = left.name, ticks = left.ticks, skipped = left.skipped })
end

--- The running matches, the fullest first.
---@return table[]
function matches.list()
  local list = tw.array()
  for name, each in pairs(running) do
    list[#list + 1] = {
      name = name, players = each.people, bots = #each.bots, most_players = settings.players,
      ticks = each.ticks, skipped = each.skipped,
    }
  end
  table.sort(list, function(one, other)
    if one.players ~= other.players then
      return one.players > other.players
    end
    return one.name < other.name
  end)
  return list
end

--- The match for a player without a choice: the fullest one that is not full, or a new one.
---@return string name
function matches.quick()
  for _, each in ipairs(matches.list()) do
    if each.players < each.most_players then
      return each.name
    end
  end
  local name
  repeat
    name = ("arena-%d"):format(math.random(100, 9999))
  until not running[name]
  return name
end

--- Figures of all matches since the start.
---@return table
function matches.figures()
  local server = tw.stats()
  local figures = {
    matches = count(), matches_started = past.started, matches_ended = past.ended,
    players = 0, bots = 0, ticks = past.ticks, skipped = past.skipped,
    messages_replaced = server.messages_replaced, messages_dropped = server.messages_dropped,
  }
  for _, each in pairs(running) do
    figures.players = figures.players + each.people
    figures.bots = figures.bots + #each.bots
    figures.ticks = figures.ticks + each.ticks
    figures.skipped = figures.skipped + each.skipped
  end
  return figures
end

return matches
