-- world_spec.lua -- the arena without a server: gliders, bolts, orbs and bots.

package.path = "examples/game/?.lua;" .. package.path

local bot_brain = require "bot_brain"
local grid = require "grid"
local world = require "world"

-- The same random numbers each time.
local function new_random(seed)
  local state = seed
  return function(least, most)
    state = (state * 1103515245 + 12345) % 2147483648
    return least + (state >> 8) % (most - least + 1)
  end
end

local function step(arena, count)
  local events = {}
  for _ = 1, count or 1 do arena:step(events) end
  return events
end

local function of_kind(events, kind)
  local found = {}
  for _, event in ipairs(events) do
    if event[1] == kind then found[#found + 1] = event end
  end
  return found
end

describe("the game's arena", function()
  local arena

  before_each(function() arena = world.new(new_random(7)) end)

  local function clear_orbs()
    for id, orb in pairs(arena.orbs) do
      arena.orb_grid:take(orb)
      arena.orbs[id] = nil
    end
  end

  -- A player at a place, that can be hit.
  local function add_at(x, y)
    local player = arena:add()
    player.x, player.y, player.safe_until = x, y, 0
    arena.player_grid:put(player)
    return player
  end

  -- One shot, and what happens until its bolt is over.
  local function shoot(player, heading)
    player:steer(heading, 0, true)
    local events = step(arena)
    player:steer(heading, 0, false)
    table.move(step(arena, world.BOLT_TICKS + 1), 1, 1000, #events + 1, events)
    return events
  end

  describe("gliders", function()
    it("move in their heading, accelerate to their speed, and glide on", function()
      clear_orbs()
      local player, last = add_at(800, 800), 0
      player:steer(90, 100, false)
      for _ = 1, 40 do
        step(arena)
        assert.is_true(player.vy > last and player.vy <= 15)
        last = player.vy
      end
      assert.is_true(last > 14 and math.abs(player.x - 800) < 1)
      player:steer(90, 0, false)
      local y = player.y
      step(arena)
      assert.is_true(player.y > y + 10)
      step(arena, 200)
      assert.is_true(player.vy < 0.01)
    end)

    it("are slower when they are large", function()
      clear_orbs()
      local small, large = add_at(300, 300), add_at(300, 800)
      large:add_points(world.MOST_POINTS)
      small:steer(0, 100, false)
      large:steer(0, 100, false)
      step(arena, 60)
      assert.is_true(large.x > 300 and small.x > large.x + 200)
    end)

    it("never leave the arena and never exceed their speed, however they steer", function()
      local random = new_random(3)
      local players = {}
      for number = 1, 40 do players[number] = arena:add() end
      local wrong = {} -- collected: 100,000 calls of assert would take seconds
      local function expect(is_right, what) if not is_right then wrong[what] = true end end
      for _ = 1, 1000 do
        local before = {}
        for number, player in ipairs(players) do
          if random(1, 4) == 1 then
            player:steer(random(0, 359), random(0, 100), random(1, 2) == 1)
          end
          before[number] = not player.back_at and { player.x, player.y } or nil
        end
        local came_back = {}
        for _, event in ipairs(of_kind(step(arena), "back")) do came_back[event[2]] = true end
        for number, player in ipairs(players) do
          if before[number] and not came_back[player.id] then
            local dx, dy = player.x - before[number][1], player.y - before[number][2]
            expect(dx * dx + dy * dy <= 15.001 * 15.001, "speed")
          end
          expect(player.x >= 15 and player.x <= world.WIDTH - 15, "x")
          expect(player.y >= 15 and player.y <= world.HEIGHT - 15, "y")
        end
        for _, number in ipairs(arena:positions()) do
          expect(math.type(number) == "integer", "integers")
        end
        expect(#arena.bolts <= 40 * 3, "bolts")
      end
      assert.same({}, wrong)
    end)
  end)

  describe("orbs", function()
    it("are collected by the glider over them, and others replace them", function()
      clear_orbs()
      local orb = arena:add_orb()
      local player = add_at(orb.x - 100, orb.y)
      player:steer(0, 100, false)
      local events = step(arena, 15)
      assert.same({ { "ate", orb.id, player.id } }, of_kind(events, "ate"))
      assert.equal(1, player.points)
      assert.is_true(player.radius > world.radius(0))
      local fresh = of_kind(events, "orb")
      assert.equal(1, #fresh)
      assert.same({ fresh[1][2], fresh[1][3], fresh[1][4], 1 }, arena:orb_list())
    end)

    it("give no more points than can be had", function()
      local player = add_at(500, 500)
      player:add_points(world.MOST_POINTS + 5)
      assert.equal(world.MOST_POINTS, player.points)
    end)
  end)

  describe("bolts", function()
    before_each(function() clear_orbs() end)

    it("hit the first player on their path, wherever it is between two ticks", function()
      for distance = 40, 400, 7 do
        local shooter, victim, behind = add_at(300, 500), add_at(300 + distance, 500),
          add_at(350 + distance, 500)
        local events = shoot(shooter, 0)
        assert.equal(1, #of_kind(events, "shot"))
        local hits = of_kind(events, "hit")
        assert.same({ { "hit", of_kind(events, "shot")[1][2], victim.id, shooter.id } }, hits,
          "at " .. distance)
        assert.same({ 2, 3 }, { victim.shields, behind.shields })
        for _, player in ipairs({ shooter, victim, behind }) do arena:remove(player) end
      end
    end)

    it("hit a large player that they only touch, in whichever cells the two are", function()
      for y = 300, 400, 5 do
        for _, beside in ipairs({ -43, 43 }) do
          local shooter, victim = add_at(300, y), add_at(400 + y / 4, y + beside)
          victim:add_points(world.MOST_POINTS)
          assert.equal(1, #of_kind(shoot(shooter, 0), "hit"),
            ("at %d, %d beside"):format(y, beside))
          arena:remove(shooter)
          arena:remove(victim)
        end
      end
    end)

    it("hit only players on their path and within their reach, never the one that fired", function()
      local shooter = add_at(300, 500)
      add_at(500, 500 + 20)
      add_at(500, 500 - 20)
      add_at(300 + world.BOLT_SPEED * (world.BOLT_TICKS + 1) + 60, 500)
      assert.same({}, of_kind(shoot(shooter, 0), "hit"))
      assert.same({}, arena.bolts)
    end)

    it("are not fired faster than a glider can load", function()
      local shooter = add_at(300, 500)
      shooter:steer(0, 0, true)
      assert.equal(5, #of_kind(step(arena, 40), "shot"))
    end)

    it("take shields, which come back with time", function()
      local shooter, victim = add_at(300, 500), add_at(420, 500)
      shoot(shooter, 0)
      assert.equal(2, victim.shields)
      assert.same({}, step(arena, 30))
      assert.equal(2, victim.shields)
      step(arena, 30)
      assert.equal(3, victim.shields)
      step(arena, 100)
      assert.equal(3, victim.shields)
    end)

    it("put out a player without shields; half of its points become orbs, it returns", function()
      local shooter, victim = add_at(300, 500), add_at(420, 500)
      victim:add_points(51)
      shoot(shooter, 0)
      shoot(shooter, 0)
      shooter:steer(0, 0, true)
      local events = {}
      for _ = 1, 20 do
        if not victim.back_at then arena:step(events) end
      end
      shooter:steer(0, 0, false)
      assert.same({ { "out", victim.id, shooter.id } }, of_kind(events, "out"))
      assert.same({ 26, 5 }, { victim.points, shooter.points })
      local spilled = of_kind(events, "orb")
      local value = 0
      for _, orb in ipairs(spilled) do value = value + orb[5] end
      assert.same({ 12, 25 }, { #spilled, value })
      local list = arena:positions()
      for at = 1, #list, 6 do
        if list[at] == victim.id then assert.equal(0, list[at + 5]) end
      end
      arena:remove(shooter)
      assert.same({}, of_kind(step(arena, world.OUT_TICKS - 1), "back"))
      assert.same({ { "back", victim.id } }, of_kind(step(arena), "back"))
      victim:steer(0, 0, false)
      local hunter = add_at(victim.x - 100, victim.y)
      assert.same({}, of_kind(shoot(hunter, 0), "hit"))
      assert.same({ 0, 3 }, { victim.back_at or 0, victim.shields })
      step(arena, 30)
      assert.equal(1, #of_kind(shoot(hunter, 0), "hit"))
    end)

    it("fly on when the player that fired has left", function()
      local shooter, victim = add_at(300, 500), add_at(600, 500)
      shooter:steer(0, 0, true)
      step(arena)
      arena:remove(shooter)
      assert.equal(1, #of_kind(step(arena, 20), "hit"))
      assert.equal(2, victim.shields)
      assert.equal(6, #arena:positions())
    end)

    it("are listed with the tick of their positions", function()
      local shooter = add_at(300, 500)
      shooter:steer(0, 0, true)
      step(arena, 3)
      local bolt = arena.bolts[1]
      assert.same({ bolt.id, shooter.id, 315 + 2 * world.BOLT_SPEED, 500, 0, 3 }, arena:bolt_list())
    end)
  end)

  describe("bots", function()
    local function play(bot, count)
      local events = {}
      for _ = 1, count do
        bot_brain.think(arena, bot)
        arena:step(events)
      end
      return events
    end

    it("live on orbs", function()
      local bot = add_at(600, 600)
      play(bot, 600)
      assert.is_true(bot.points >= 20)
    end)

    it("shoot at players in sight, and hit now and then", function()
      local bot, target = add_at(600, 600), add_at(700, 600)
      local events = play(bot, 200)
      local hits = of_kind(events, "hit")
      assert.is_true(#of_kind(events, "shot") > #hits and #hits > 0)
      assert.same({ target.id, bot.id }, { hits[1][3], hits[1][4] })
    end)

    it("wander where nothing is in sight", function()
      clear_orbs()
      local bot = add_at(600, 600)
      assert.same({}, play(bot, 100))
      assert.is_true(math.abs(bot.x - 600) + math.abs(bot.y - 600) > 100)
    end)
  end)

  it("finds near things by cells, the same as a search of all things", function()
    local random = new_random(11)
    local field = grid.new(1000, 700, 90)
    local things, found = {}, {}
    for number = 1, 300 do things[number] = { x = random(-50, 1050), y = random(-50, 750) } end
    for _ = 1, 50 do
      for number, thing in ipairs(things) do
        if random(1, 3) == 1 then thing.x, thing.y = random(-50, 1050), random(-50, 750) end
        if number % 7 == random(0, 6) then field:take(thing) else field:put(thing) end
      end
      local left, top = random(-50, 1000), random(-50, 700)
      local right, bottom = left + random(0, 200), top + random(0, 200)
      local seen = {}
      for i = 1, field:around(left, top, right, bottom, found) do
        assert.is_nil(seen[found[i]])
        seen[found[i]] = true
      end
      for _, thing in ipairs(things) do
        local is_in = thing.x >= left and thing.x <= right and thing.y >= top and thing.y <= bottom
        if is_in and thing.cell then assert.is_true(seen[thing]) end
        if not thing.cell then assert.is_nil(seen[thing]) end
      end
    end
  end)
end)
