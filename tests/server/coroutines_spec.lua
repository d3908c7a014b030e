-- coroutines_spec.lua -- hooks and coroutines that are ended while they wait leave nothing behind:
-- later code fails only with its own errors.

local reloads = require "support.reloads"
local server = require "support.server"
local stream = require "support.stream"

-- A message is a chunk of Lua that runs in the hook; the answer is the error that on_error gets.
local APP = [[
local tw, record = require "tidewire", require "record"
local environment = setmetatable({ tw = tw, record = record }, { __index = _G })
function environment.within(n, f, ...)
  if n > 0 then
    return xpcall(environment.within, print, n - 1, f, ...)
  end
  return f(...)
end
function environment.deep(n, f)
  if n == 0 then return f() end
  local result = environment.deep(n - 1, f)
  return result
end
return {
  endpoints = {
    ["/"] = {
      handle_message = function(_, chunk)
        return assert(load(chunk, "=chunk", "t", environment))()
      end,
      on_error = function(conn, err) conn:send(err.message) return false end,
    },
    ["/validate"] = {
      validate = function() return xpcall(coroutine.yield, print, 1) end,
    },
  },
}
]]

describe("what runs after a hook that was ended", function()
  local app

  local function start(app_text)
    app = server.start({ app = app_text or APP, workers = 1 })
  end
  after_each(function()
    stream.close_all()
    app:stop()
  end)

  -- More often than there are coroutines that could be used again.
  local function fails_with_its_own_errors()
    local ada = app:connect()
    for i = 1, 40 do
      assert.equal("chunk:1: mine " .. i, (ada:ask(("error('mine %d')"):format(i))))
      assert.equal("chunk:1: attempt to index a nil value (global 'missing')",
        (ada:ask("return missing.field")))
    end
  end

  local function ends(chunk)
    local eve = app:connect()
    for _ = 1, 5 do
      assert.matches("coroutine.yield outside of a coroutine", (eve:ask(chunk)))
    end
  end

  it("by yielding inside of an xpcall fails with its own errors", function()
    start()
    ends("return xpcall(coroutine.yield, print, 1)")
    fails_with_its_own_errors()
  end)

  it("by yielding inside of many xpcalls fails with its own errors", function()
    start()
    ends("within(60, coroutine.yield, 1)")
    fails_with_its_own_errors()
  end)

  it("by yielding deep in its stack inside an xpcall fails with its own errors", function()
    start()
    ends("deep(10000, function() return xpcall(coroutine.yield, print, 1) end)")
    fails_with_its_own_errors()
  end)

  it("with variables whose __close throws, fails with its own errors", function()
    start()
    ends([[
      local _ <close> = setmetatable({}, { __close = function()
        collectgarbage()
        error("closing")
      end })
      deep(10000, function() return xpcall(coroutine.yield, print, 1) end)]])
    fails_with_its_own_errors()
  end)

  it("by yielding in validate fails with its own errors", function()
    start()
    for _ = 1, 5 do
      assert.has_error(function() app:connect("/validate") end)
    end
    fails_with_its_own_errors()
  end)

  it("by new code fails with its own errors", function()
    local waits = [[
      local tw = require "tidewire"
      tw.every(0.001, function() tw.sleep(1000) end)
      for _ = 1, 5 do tw.spawn(function() xpcall(tw.sleep, print, 1000) end) end
    ]]
    start(waits .. APP)
    for generation = 2, 4 do
      assert.equal(generation, reloads.good(app, waits .. APP))
    end
    fails_with_its_own_errors()
  end)
end)

describe("coroutine.close", function()
  local app, ada

  lazy_setup(function() app = server.start({ app = APP, workers = 1 }) end)
  lazy_teardown(function() app:stop() end)
  before_each(function() ada = app:connect() end)
  after_each(stream.close_all)

  local function returns(expected, chunk)
    assert.equal(expected,
      (ada:ask("local function chunk() " .. chunk .. " end error(tostring(chunk()), 0)")))
  end

  local CLOSABLE = [[
    local seen = {}
    local function closable(name, method)
      return setmetatable({}, { __close = function(_, err)
        seen[#seen + 1] = name .. "(" .. tostring(err) .. ")"
        if method then method() end
      end })
    end
    local function close(f)
      local co = coroutine.create(f)
      coroutine.resume(co)
      local ok, err = coroutine.close(co)
      return table.concat(seen, " ") .. " " .. tostring(ok) .. " " .. tostring(err) .. " "
        .. coroutine.status(co)
    end
  ]]

  it("of one that waits in an xpcall calls each __close with the previous one's error", function()
    returns("c(nil) b(nil) a(mine) false mine dead", CLOSABLE .. [[
      return close(function()
        local _ <close> = closable "a"
        xpcall(function()
          local _ <close> = closable("b", function() error("mine", 0) end)
          xpcall(function()
            local _ <close> = closable "c"
            coroutine.yield()
          end, print)
        end, print)
      end)]])
  end)

  it("of one that waits in an xpcall works with any values on its stack", function()
    returns("b(nil) a(mine) false mine dead", CLOSABLE .. [[
      return close(function()
        local _ <close> = closable "a"
        local _ <close> = closable("b", function() collectgarbage() error("mine", 0) end)
        deep(10000, function() xpcall(coroutine.yield, print) end)
      end)]])
  end)

  it("closes what a __close method leaves open itself, and lets it catch its own errors", function()
    returns("b(nil) c(oops) a(oops) false oops dead", CLOSABLE .. [[
      return close(function()
        local _ <close> = closable "a"
        local _ <close> = closable("b", function()
          local _ <close> = closable "c"
          assert(not pcall(error, "caught"))
          error("oops", 0)
        end)
        xpcall(coroutine.yield, print)
      end)]])
  end)

  it("lets scopes of the same values end as ever meanwhile", function()
    returns("b(nil) b(nil) a(nil) true nil dead", CLOSABLE .. [[
      local b = closable "b"
      return close(function()
        local _ <close> = closable("a")
        local _ <close> = closable("x", nil)
        getmetatable(_).__close = function() local _ <close> = b end
        local _ <close> = b
        xpcall(coroutine.yield, print)
      end)]])
  end)

  it("of one whose __close waits fails, as in Lua", function()
    returns("a(nil) false true dead", CLOSABLE .. [[
      local result = close(function()
        local _ <close> = closable("a", coroutine.yield)
        xpcall(coroutine.yield, print)
      end)
      return (result:gsub("attempt to yield across a C%-call boundary", "true"))]])
  end)

  it("in a __close method of one that is closed, and so on, ends in an error", function()
    returns("true", [[
      local count = 0
      local function nested(n)
        local co = coroutine.create(function()
          local _ <close> = setmetatable({}, { __close = function()
            count = count + 1
            if n > 0 then assert(coroutine.close(nested(n - 1))) end
          end })
          coroutine.yield()
        end)
        coroutine.resume(co)
        return co
      end
      local ok, err = coroutine.close(nested(200000))
      return not ok and count < 5000 and tostring(err):find("C stack overflow") ~= nil]])
    assert.matches("mine", (ada:ask("error 'mine'")))
  end)
end)
