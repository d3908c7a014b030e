-- cluster_shared_spec.lua -- tw.shared(name, { cluster = true }) on two machines and a real Redis:
-- values that come back unchanged, atomic steps of all machines, expiry, limits, and Redis away.

local loop = require "support.loop"
local redis_server = require "support.redis"
local server = require "support.server"
local stream = require "support.stream"

-- What comes in is a chunk of Lua, run with the store "test"; the answer is what it returns, each
-- value with its kind.
local APP = [[
local tw = require "tidewire"
local store = tw.shared("test", { cluster = true })
local environment = setmetatable({ tw = tw, store = store }, { __index = _G })
local problem = "none"
return {
  cluster = "%s",
  defaults = { ping_period = 0, max_message_size = "8M" },
  endpoints = { ["/early"] = {
    validate = function()
      local ok, message = pcall(store.get, store, "key")
      problem = tostring(ok) .. " " .. tostring(message)
      return true
    end,
    on_start = function(conn) conn:send(problem) end,
  }, ["/"] = {
    handle_message = function(conn, chunk)
      local results = table.pack(pcall(assert(load(chunk, "=chunk", "t", environment))))
      for i = 1, results.n do
        local value = results[i]
        results[i] = (math.type(value) or type(value)) .. " " .. tostring(value)
      end
      conn:send(table.concat(results, ", "))
    end,
  } },
}
]]

describe("a store of the cluster", function()
  local redis, one, two, ada, bob

  lazy_setup(function()
    redis = redis_server.start()
    local options = { app = APP:format(redis.url), workers = 2 }
    one, two = server.start(options), server.start(options)
  end)
  lazy_teardown(function()
    one:stop()
    two:stop()
    redis:stop()
  end)

  --- What the chunk returns, as text.
  local function run(chunk, client)
    local answer = (client or ada):ask(chunk)
    local good, rest = answer:match("^boolean (%a+),? ?(.*)$")
    assert.equal("true", good, rest)
    return rest
  end

  before_each(function()
    ada, bob = one:connect(), two:connect()
    assert(loop.wait_until(function()
      return run("return store:set('up', 1)") == "boolean true"
        and run("return store:set('up', 1)", bob) == "boolean true"
    end))
    run("for _, key in ipairs(store:keys()) do store:delete(key) end")
  end)

  after_each(stream.close_all)

  it("gives back what another machine has put in, of the same kind", function()
    run([[store:set("integer", 1) store:set("least", math.mininteger) store:set("float", 1.0)
      store:set("exact", 9007199254740993) store:set("third", 1 / 3) store:set("huge", math.huge)
      store:set("true", true) store:set("false", false)
      store:set("text", "1") store:set("empty", "") store:set("", "empty key")
      store:set("bytes\0\xff", "\0\xff\r\n")]])
    assert.equal("integer 1, integer -9223372036854775808, float 1.0, integer 9007199254740993, "
      .. "boolean true, float inf, boolean true, boolean false, string 1, string , "
      .. "string empty key, boolean true, nil nil",
      run([[local function get(key) return store:get(key) end
        return get"integer", get"least", get"float", get"exact", get"third" == 1 / 3, get"huge",
          get"true", get"false", get"text", get"empty", get"", get"bytes\0\xff" == "\0\xff\r\n",
          get"none"]], bob))
    assert.equal("boolean true", run([[
      for _, length in ipairs { 1023, 1025, 100000, 8 << 20 } do
        local text = ("\0\xffx"):rep(length // 3 + 1):sub(1, length)
        assert(store:set("long", text))
        assert(store:get("long") == text)
      end
      return store:delete("long")]], bob))
  end)

  it("loses no step of two machines that count at once", function()
    local count = [[
      local done, mine = 0, {}
      for i = 1, 40 do
        tw.spawn(function()
          for _ = 1, 10 do
            mine[store:incr("count", 1, 100)] = true
            store:update("updated", function(n) return (n or 0) + 1 end)
          end
          if store:add("first", true) then store:incr("winners") end
          done = done + 1
        end)
      end
      while done < 40 do tw.sleep(0.002) end
      local n = 0
      for _ in pairs(mine) do n = n + 1 end
      return n]]
    ada:send_text(count)
    assert.equal("integer 400", run(count, bob))
    assert.equal("boolean true, integer 400", (ada:receive()))
    assert.equal("integer 900, integer 800, integer 1",
      run([[return store:get("count"), store:get("updated"), store:get("winners")]]))
  end)

  it("adds as the stores of a process do, and never wraps", function()
    assert.equal("integer 9007199254740994, float 1.5, float 3.0, integer -4", run([[
      return store:incr("big", 1, 9007199254740993), store:incr("float", 0.5, 1),
        store:incr("float", 1.5), store:incr("down", -4)]]))
    assert.equal("boolean false, boolean true, integer 9223372036854775807", run([[
      store:set("top", math.maxinteger)
      local ok, message = pcall(store.incr, store, "top")
      return ok, message:find("would grow beyond 64 bits", 1, true) ~= nil, store:get("top")]]))
    assert.equal("boolean false, boolean true", run([[
      store:set("text", "1")
      local ok, message = pcall(store.incr, store, "text")
      return ok, message:find('the key "text" holds no number', 1, true) ~= nil]], bob))
  end)

  it("lets keys end for all machines at once, and takes their time back", function()
    assert.equal("nil nil, boolean true, integer 0", run([[
      store:set("short", 1, 0.05)
      store:incr("long", 1, 0, 600)
      store:expire("long", nil)
      while store:get("short") do tw.sleep(0.002) end
      store:set("again", 1, 0.01)
      local there = store:delete("long")
      while #store:keys() > 0 do tw.sleep(0.002) end
      return store:get("short"), there, #store:keys()]]))
    assert(loop.wait_until(function() return redis:command("KEYS", "*:d:test") == "" end))
  end)

  it("holds as much as it may, and lists many keys", function()
    assert.equal("nil nil, string full", run([[
      return tw.shared("small", { cluster = true, max_bytes = "64K" }):set("key", ("x"):rep(66000))
      ]], bob))
    assert.equal("integer 3000, integer 3000, integer 7, boolean true", run([[
      local done = 0
      for worker = 0, 9 do
        tw.spawn(function()
          for i = worker, 2999, 10 do store:set("key " .. i, ("x"):rep(i % 100)) end
          done = done + 1
        end)
      end
      while done < 10 do tw.sleep(0.002) end
      local n, all = 0, store:entries()
      for i = 0, 2999 do assert(all["key " .. i] == ("x"):rep(i % 100)) n = n + 1 end
      local some = 0
      for _ in pairs(store:entries(7)) do some = some + 1 end
      return #store:keys(), n, some, all["key 3000"] == nil]], bob))
  end)

  it("throws where nothing can wait", function()
    assert.matches("^false .*store:get: validate must answer at once",
      (one:connect("/early"):receive()))
    assert.equal("boolean false, boolean true", run([[
      local ok, message = pcall(table.sort, { 1, 2 }, function() return store:get("a") end)
      return ok, message:find("attempt to yield across a C-call boundary", 1, true) ~= nil]]))
  end)

  it("is not the store of the process", function()
    assert.equal("nil nil, integer 1", run([[
      store:set("key", 1)
      return tw.shared("test"):get("key"), store:get("key")]]))
  end)

  it("says that Redis is away, and goes on when it is back", function()
    run([[store:set("kept", 7)]])
    redis:kill()
    assert(loop.wait_until(function()
      return run([[return store:get("kept")]]):find("^nil nil, string cluster")
    end))
    for _, call in ipairs {
      'get("kept")', 'set("kept", 8)', 'add("new", 8)', 'incr("kept")', 'delete("kept")',
      'expire("kept", 1)', 'keys()', 'entries()', 'update("kept", function() return 9 end)',
    } do
      assert.equal("nil nil, string cluster is unreachable", run("return store:" .. call), call)
    end
    redis:start()
    assert(loop.wait_until(function()
      return run([[return store:get("kept")]]) == "integer 7"
    end, 30))
  end)
end)
