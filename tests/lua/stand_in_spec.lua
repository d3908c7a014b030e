-- stand_in_spec.lua -- the stand-in for `require "tidewire"` that `tidewire new` makes for an app's
-- specs has every name of the real one, so a handler that runs in the server runs in its spec.

local fake_app = require "support.fake_app"

local STAND_IN <const> = "lua/templates/spec/support/tidewire.lua"

describe("the stand-in of a new app's specs", function()
  local world, tw, other

  before_each(function()
    world = fake_app:install()
    world.core.shared_open = function() return 1, 1 end
    tw, other = require "tidewire", assert(loadfile(STAND_IN))()
  end)
  after_each(function() world:uninstall() end)

  --- Every name of the real table must be in the other one.
  local function compare(real, stand_in, what)
    for name, value in pairs(real) do
      if type(name) == "string" and name:sub(1, 2) ~= "__" then
        assert(rawget(stand_in, name) ~= nil,
          ("%s lacks %s%s: add it there"):format(STAND_IN, what, name))
        assert.equal(type(value) == "function", type(rawget(stand_in, name)) == "function",
          what .. name)
      end
    end
  end

  local function class_of(object) return getmetatable(object).__index end

  it("has all of tw", function()
    compare(tw, other, "tw.")
    for _, name in ipairs { "log", "json", "http", "jwt", "socket" } do
      compare(tw[name], other[name], "tw." .. name .. ".")
    end
  end)

  it("has the methods of rooms, users, timers and stores", function()
    compare(class_of(tw.user("a")), class_of(other.user("a")), "user:")
    compare(class_of(tw.room("a")), class_of(other.room("a")), "room:")
    compare(class_of(tw.after(1, print)), class_of(other.after(1, print)), "timer:")
    compare(class_of(tw.shared("a")), class_of(other.shared("a")), "store:")
  end)

  it("notes calls, and forgets them", function()
    other.broadcast("hi", { key = "k" })
    other.room("hall"):broadcast("ho")
    assert.same({ { "broadcast", "hi", { key = "k" } }, { "room:broadcast", "hall", "ho" } },
      other.asked)
    other.forget()
    assert.same({}, other.asked)
  end)
end)
