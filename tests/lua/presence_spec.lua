-- presence_spec.lua -- room:members and room:watch: their results and their arguments. The spec
-- plays C's part; tests/server/presence_spec.lua tests the real one.

local fake_app = require "support.fake_app"

local HERE = debug.getinfo(1, "S").short_src:gsub("%p", "%%%0")

local world, lobby, seen

before_each(function()
  world = fake_app:install()
  local core = world.core
  function core.id_text(id) return ("%d"):format(id) end -- its form is of no importance here
  core.watched = {}
  function core.watch(name, on) core.watched[name] = on or nil end
  world:serve { endpoints = { ["/"] = {} } }
  lobby, seen = require("tidewire").room("lobby"), {}
end)

after_each(function() world:uninstall() end)

--- A connection joins or leaves; info is JSON.
local function move(joined, integer, info)
  local event = joined and "join" or "leave"
  world:event("presence_changed", 0, integer, "lobby", event, '"the door"', info)
end

local function note(event, member)
  seen[#seen + 1] = ("%s %s"):format(event, member.id)
end

local function misuse(f)
  local ok, message = pcall(f)
  assert.is_false(ok)
  return assert(message:match("^" .. HERE .. ":%d+: (.*)$"), message)
end

describe("room:members", function()
  it("returns each member's info, of any type", function()
    function world.core.room_members()
      return {
        1, '"a"', false, false, 2, '"a"', "false", false, 3, '"a"', "null", "bob", 4, '"a"',
        '{"user":"ada"}', false,
      }
    end
    local members = lobby:members()
    assert.same({ id = "1", name = "a" }, members[1])
    assert.same({ id = "2", name = "a", info = false }, members[2])
    assert.equal(require("tidewire").null, members[3].info)
    assert.equal("bob", members[3].user)
    assert.same({ user = "ada" }, members[4].info)
  end)
end)

describe("room:watch", function()
  it("gets joins and leaves", function()
    local members = {}
    lobby:watch(function(event, member) members[#members + 1] = { event, member } end)
    move(true, 7, '{"user":"ada"}')
    move(false, 7)
    world:turn()
    assert.same({ "join", { id = "7", name = "the door", info = { user = "ada" } } }, members[1])
    assert.same({ "leave", { id = "7", name = "the door" } }, members[2])
  end)

  it("calls one function for joins and another for leaves", function()
    lobby:watch({
      on_join = function(member) note("came", member) end,
      on_leave = function(member) note("went", member) end,
    })
    lobby:watch({ on_leave = function(member) note("and went", member) end })
    move(true, 7)
    move(false, 7)
    world:turn()
    assert.same({ "came 7", "went 7", "and went 7" }, seen)
  end)

  it("calls no function after its cancel, not for earlier events either", function()
    local watch
    watch = lobby:watch(function(event, member)
      note(event, member)
      watch:cancel()
    end)
    local other = lobby:watch(note)
    move(true, 7)
    move(false, 7)
    other:cancel()
    world:turn()
    assert.same({ "join 7" }, seen)
    assert.same({}, world.core.watched)
    assert.is_false(watch:cancel())
  end)

  it("goes on after an error in its function, and for the others", function()
    lobby:watch(function() error("out of tea", 0) end)
    lobby:watch(note)
    move(true, 7)
    move(false, 7)
    world:turn()
    assert.same({ "join 7", "leave 7" }, seen)
    assert.equal("out of tea", world.failures[2].value)
  end)

  it("wants functions", function()
    local needed = "room:watch: a function is needed, or a table with on_join and on_leave; got "
    assert.equal(needed .. "nil", misuse(function() lobby:watch() end))
    assert.equal(needed .. "string", misuse(function() lobby:watch("note") end))
    assert.equal('room:watch: unknown option "on_jion"; did you mean "on_join"?',
      misuse(function() lobby:watch({ on_jion = note }) end))
    assert.equal("room:watch: on_leave must be a function, got boolean",
      misuse(function() lobby:watch({ on_leave = true }) end))
    assert.equal("room:watch: on_join or on_leave is needed",
      misuse(function() lobby:watch({}) end))
    assert.same({}, world.core.watched)
  end)

  it("is cancelled with a colon", function()
    local watch = lobby:watch(note)
    assert.equal("watch:cancel: call it with a colon, watch:cancel()",
      misuse(function() watch.cancel() end))
    assert.equal("watch:cancel: call it with a colon, watch:cancel()",
      misuse(function() watch.cancel({}) end))
  end)
end)
