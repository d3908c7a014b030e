-- match.lua -- one match: an arena, its players, and its clock.
--
-- All connections of a match are in one room. Each tick the world advances by one step, and the
-- room gets one message with all positions, encoded once for all receivers. The message has a key:
-- in the queue of a client that is behind, newer positions replace older ones. The events of the
-- tick are another message, without a key, so none of them is replaced. Bots of the server play
-- along, but do not keep a match running.

local bot_brain = require "bot_brain"
local settings = require "settings"
local tw = require "tidewire"
local world = require "world"

local TICKS_PER_SECOND = 20
local CATCH_UP = 5 -- the match makes up for at most so many late ticks
local POSITIONS = { key = "state" }
local BOT_NAMES = {
  "Otter", "Heron", "Lynx", "Marten", "Plover", "Badger", "Kestrel", "Stoat", "Magpie", "Hare",
  "Newt", "Swift",
}

local Match = {}
Match.__index = Match
Match.__name = "game.Match"

function Match:__tostring()
  return ("game.Match %q"):format(self.name)
end

local match = {}

--- A match without players, whose clock runs.
---@param name string
---@return game.Match
function match.new(name)
  local self = setmetatable({
    name = name,
    room = tw.room("game." .. name),
    world = world.new(),
    people = 0,
    bots = {},     -- players, in the order in which they joined
    ticks = 0,     -- that ran
    skipped = 0,   -- that the loop was too late for
  }, Match)
  self.timer = tw.every(1 / TICKS_PER_SECOND, function() self:on_tick() end)
  return self
end

--- Stops the clock. The caller manages the connections.
function Match:stop()
  self.timer:cancel()
end

-- ---- the clock ----

-- The timer counts the ticks that it has left out.
local function note_skipped(self)
  local skipped = self.timer.skipped - self.skipped
  if skipped > 0 then
    self.skipped = self.timer.skipped
    tw.log.warn("ticks skipped", { match = self.name, ticks = skipped, in_all = self.skipped })
  end
  return skipped
end

--- One tick. Skipped ticks leave a gap in the numbers, so that clients see them.
function Match:on_tick()
  local skipped = note_skipped(self)
  local events = {}
  self.ticks = self.ticks + 1
  self.world.tick = self.world.tick + math.max(0, skipped - CATCH_UP)
  for _, bot in ipairs(self.bots) do
    bot_brain.think(self.world, bot)
  end
  for _ = 0, math.min(skipped, CATCH_UP) do
    self.world:step(events)
  end
  if #events > 0 then
    self.room:broadcast({ type = "events", tick = self.world.tick, events = events })
  end
  self.room:broadcast({ type = "state", tick = self.world.tick, players = self.world:positions() },
    POSITIONS)
end

-- ---- players ----

local function described(player)
  return { id = player.id, name = player.name, bot = player.is_bot }
end

local function add_player(self, name, is_bot)
  local player = self.world:add()
  player.name, player.is_bot = name, is_bot
  return player
end

local function remove_player(self, player)
  self.world:remove(player)
  self.room:broadcast({ type = "left", id = player.id })
end

local function add_bot(self)
  local number = #self.bots + 1
  local bot = add_player(self, BOT_NAMES[number] or "Bot " .. number, true)
  self.bots[number] = bot
  self.room:broadcast({ type = "joined", player = described(bot) })
end

-- Adds or removes bots until their number fits that of the players.
local function fill_up(self)
  local wanted = math.max(0, settings.bots + 1 - self.people)
  while #self.bots < wanted do
    add_bot(self)
  end
  while #self.bots > wanted do
    remove_player(self, table.remove(self.bots))
  end
end

function Match:is_full()
  return self.people >= settings.players
end

--- Sends the whole state to a client that begins, or begins again.
---@param conn tidewire.Conn
function Match:welcome(conn)
  local players = tw.array()
  for _, player in pairs(self.world.players) do
    players[#players + 1] = described(player)
  end
  conn:send({
    type = "welcome",
    you = conn.player.id,
    match = self.name,
    tick = self.world.tick,
    ticks_per_second = TICKS_PER_SECOND,
    width = world.WIDTH,
    height = world.HEIGHT,
    shields = world.SHIELDS,
    bolt = { speed = world.BOLT_SPEED, ticks = world.BOLT_TICKS },
    players = players,
    positions = self.world:positions(),
    orbs = tw.array(self.world:orb_list()),
    bolts = tw.array(self.world:bolt_list()),
  })
end

--- Adds a connection, at any time: it gets the whole state, and the others get `joined`.
---@param conn tidewire.Conn
---@param name string
function Match:join(conn, name)
  local player = add_player(self, name, false)
  conn.player = player
  self.people = self.people + 1
  conn:join(self.room.name)
  self:welcome(conn)
  self.room:broadcast({ type = "joined", player = described(player) }, conn)
  fill_up(self)
end

--- The connection has closed.
---@param conn tidewire.Conn
function Match:leave(conn)
  self.people = self.people - 1
  remove_player(self, conn.player)
  if self.people > 0 then
    fill_up(self)
  end
end

return match
