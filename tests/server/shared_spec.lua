-- shared_spec.lua -- tw.shared and tw.keep in the real program: values that come back unchanged,
-- atomic steps of many connections, expiry, limits of size.

local loop = require "support.loop"
local server = require "support.server"
local stream = require "support.stream"

-- What comes in is a chunk of Lua, run with the store "test"; the answer is what it returns, each
-- value with its kind.
local APP = [[
local tw = require "tidewire"
local uv = require "luv"
local other = require "other"

-- Says of times in a store whether they were kept: to the millisecond, which is what its clock
-- counts, and as told by readings of the clock before and after each call, so that it does not
-- matter how long anything takes.
local function seconds() return uv.hrtime() / 1e9 end

local function watch(ttl, put, is_there)
  local before = seconds()
  put(ttl)
  local after = seconds()
  while true do
    local from = seconds()
    local there = is_there()
    local to = seconds()
    if there and from > after + ttl + 0.001 then return "there after its time" end
    if not there then return to < before + ttl - 0.001 and "gone before its time" or "kept" end
    tw.sleep(0.002)
  end
end

local environment = setmetatable({ tw = tw, store = tw.shared("test"), watch = watch,
  other = other }, { __index = _G })

return {
  validate = require("here").validate,
  ping_period = 0,
  handler_timeout = 30, -- 60 MB take their time under sanitizers
  max_message_size = "8M",
  handle_message = function(conn, chunk)
    local results = table.pack(pcall(assert(load(chunk, "=chunk", "t", environment))))
    for i = 1, results.n do
      local value = results[i]
      results[i] = (math.type(value) or type(value)) .. " " .. tostring(value)
    end
    conn:send(table.concat(results, ", "))
  end,
}
]]

local OTHER = [[
local tw = require "tidewire"
return { scores = tw.keep("scores", { ada = 7 }), store = tw.shared("test") }
]]

describe("tw.shared", function()
  local app, ada

  lazy_setup(function() app = server.start({ app = APP, files = { ["other.lua"] = OTHER } }) end)
  lazy_teardown(function() app:stop() end)

  --- What the chunk returns, as text.
  local function run(chunk, client)
    local answer = (client or ada):ask(chunk)
    local good, rest = answer:match("^boolean (%a+),? ?(.*)$")
    assert.equal("true", good, rest)
    return rest
  end

  before_each(function()
    ada = app:connect()
    run("for _, key in ipairs(store:keys()) do store:delete(key) end")
  end)

  after_each(stream.close_all)

  it("gives back what was put in, of the same kind", function()
    run([[store:set("integer", 1) store:set("least", math.mininteger) store:set("float", 1.0)
      store:set("true", true)
      store:set("false", false)
      store:set("text", "1")
      store:set("empty", "")
      store:set("", "empty key")]])
    assert.equal("integer 1, integer -9223372036854775808, float 1.0, boolean true, boolean false, "
      .. "string 1, string , string empty key, nil nil",
      run([[local function get(key) return store:get(key) end
        return get"integer", get"least", get"float", get"true", get"false", get"text", get"empty",
          get"", get"none"]]))
  end)

  it("keeps any bytes, and texts of any length", function()
    assert.equal("boolean true", run([[
      local key = "\0\xff\n"
      for _, length in ipairs { 3, 1023, 1024, 1025, 100000, 5000000 } do
        local text = ("\0\xffx"):rep(length // 3 + 1):sub(1, length)
        assert(store:set(key, text))
        assert(store:get(key) == text)
        assert(store:keys()[1] == key)
      end
      return store:delete(key)]]))
  end)

  it("is one store for all connections, on all workers, and for all modules", function()
    run('store:set("key", "from ada")')
    for worker = 0, app.workers - 1 do
      local peer = app:connect_on(worker)
      assert.equal("string from ada", run('return other.store:get("key")', peer))
      assert.equal("nil nil", run('return tw.shared("another"):get("key")', peer))
    end
  end)

  it("has the size of its first opening, and its keys expire for all workers at once", function()
    run('tw.shared("sized", { max_bytes = "64K" })')
    for worker = 0, app.workers - 1 do
      assert.equal("nil nil, string full",
        run('return tw.shared("sized"):set("key", ("x"):rep(70000))', app:connect_on(worker)))
    end
    run('store:set("short", 1, 0.05) while store:get("short") do tw.sleep(0.002) end')
    for worker = 0, app.workers - 1 do
      assert.equal("nil nil, integer 0",
        run('return store:get("short"), #store:keys()', app:connect_on(worker)))
    end
  end)

  it("lists its values with their keys", function()
    assert.equal("integer 0",
      run("local n = 0 for _ in pairs(store:entries()) do n = n + 1 end return n"))
    assert.equal("integer 1, float 1.0, boolean false, string text\0, string , integer 5, "
      .. "integer 2", run([[
      store:set("integer", 1)
      store:set("float", 1.0)
      store:set("false", false)
      store:set("text", "text\0")
      store:set("empty", "") store:set("over", 1, 0.001) tw.sleep(0.01)
      local all, n, some = store:entries(), 0, 0
      for _ in pairs(all) do n = n + 1 end
      for _ in pairs(store:entries(2)) do some = some + 1 end
      return all.integer, all.float, all["false"], all.text, all.empty, n, some]]))
    assert.equal("boolean true", run([[
      for i = 1, 1000 do store:set("key " .. i, ("x"):rep(i)) end
      local all = store:entries()
      for i = 1, 1000 do assert(all["key " .. i] == ("x"):rep(i)) end
      return true]]))
  end)

  it("updates a value by a function, which may take it out", function()
    assert.equal("string a, string ab, nil nil, nil nil", run([[
      local function more(text) return (text or "a") .. (text and "b" or "") end
      return store:update("key", more), store:update("key", more),
        store:update("key", function() end), store:get("key")
    ]]))
    assert.equal("boolean false, nil nil, boolean false", run([[
      store:update("key", function() return false end)
      local kept = store:get("key")
      return kept, store:get("other"),
        (pcall(store.update, store, "key", function() error("no") end))]]))
    assert.equal("nil nil, string full, integer 1", run([[
      local small = tw.shared("little", { max_bytes = 4096 })
      small:set("key", 1)
      local value, why = small:update("key", function() return ("x"):rep(5000) end)
      return value, why, small:get("key")]]))
    assert.equal("integer 2, nil nil", run([[
      store:set("ends", 1, 0.05)
      local value = store:update("ends", function(n) return n + 1 end, 1000)
      while store:get("ends") do tw.sleep(0.002) end
      return value, store:get("ends")]]))
    local refused = ada:ask('store:update("key", function() return {} end)')
    assert.equal("boolean false, string chunk:1: store:update: a value must be a string, a number "
      .. "or a boolean, got table; tw.json.encode makes a string of a table", (refused))
    assert.equal("nil nil, string busy, integer 100", run([[
      local calls = 0
      local value, why = store:update("key", function()
        calls = calls + 1
        store:set("key", calls)
        return 0
      end)
      return value, why, calls]]))
  end)

  it("loses no update of many at once, on all workers, also where they wait", function()
    run('store:set("list", "[]")')
    local peers = {}
    for i = 1, 9 do peers[i] = app:connect_on(i % app.workers) end
    for _, peer in ipairs(peers) do
      peer:send_text([[
        for i = 1, 50 do
          repeat
            local done = store:update("list", function(text)
              local list = tw.json.decode(text)
              list[#list + 1] = i
              if i % 25 == 0 then tw.sleep(0) end
              return tw.json.encode(tw.array(list))
            end)
          until done
        end
        return "done"]])
    end
    for _, peer in ipairs(peers) do
      assert.equal("boolean true, string done", (peer:receive(60)))
    end
    assert.equal("integer 450", run('return #tw.json.decode(store:get("list"))'))
  end)

  it("sets, adds and deletes", function()
    assert.equal("boolean true, boolean false, integer 1", run(
      'return store:add("key", 1), store:add("key", 2), store:get("key")'))
    assert.equal("boolean true, integer 3", run('return store:set("key", 3), store:get("key")'))
    assert.equal("boolean true, boolean false, nil nil", run(
      'return store:delete("key"), store:delete("key"), store:get("key")'))
    assert.equal("boolean true, boolean true, nil nil", run(
      'return store:set("key", 1), store:set("key", nil), store:get("key")'))
  end)

  it("counts, integers as integers and floats as floats", function()
    assert.equal("integer 1, integer 3, float 3.5, float 4.5", run(
      'return store:incr("n"), store:incr("n", 2), store:incr("n", 0.5), store:incr("n")'))
    assert.equal("integer 9, float 1.5",
      run('return store:incr("m", -1, 10), store:incr("f", 1, 0.5)'))
    assert.equal("integer 9007199254740995",
      run('store:set("large", (1 << 53) + 1) return store:incr("large", 2)'))
  end)

  it("throws for an error of counting at its line, and changes nothing", function()
    run('store:set("text", "7") store:set("most", math.maxinteger)')
    assert.equal('boolean false, string chunk:1: store:incr: the key "text" holds no number',
      (ada:ask('store:incr("text")')))
    assert.equal('boolean false, string chunk:2: store:incr: the integer under the key "most" '
      .. 'would grow beyond '
      .. "64 bits", (ada:ask('\nstore:incr("most")')))
    assert.equal("string 7, integer 9223372036854775807",
      run('return store:get("text"), store:get("most")'))
  end)

  it("loses nothing of what many connections do at once", function()
    local clients = {}
    for i = 1, 20 do clients[i] = app:connect_on(i % app.workers) end
    for round = 1, 50 do
      for i, client in ipairs(clients) do
        client:send_text(("store:incr('sum', %d) return store:add('round %d', %d)")
          :format(i, round, i))
      end
    end
    local winners = 0
    for _, client in ipairs(clients) do
      for _, answer in ipairs(assert(client:receive_many(50))) do
        if answer == "boolean true, boolean true" then winners = winners + 1 end
      end
    end
    assert.equal(50, winners)
    assert.equal("integer " .. 50 * 20 * 21 // 2, run('return store:get("sum")'))
  end)

  it("names its keys", function()
    assert.equal("integer 0", run("return #store:keys()"))
    run('for i = 1, 3000 do store:set("key " .. i, i) end')
    assert.equal("integer 3000, integer 3000, integer 7", run([[
      local seen, different = {}, 0
      for _, key in ipairs(store:keys()) do
        if not seen[key] and store:get(key) == tonumber(key:match("^key (%d+)$")) then
          different = different + 1
        end
        seen[key] = true
      end
      return #store:keys(), different, #store:keys(7)]]))
  end)

  it("lets keys live for their time, neither more nor less", function()
    local ways = {
      'function(ttl) store:set("key", 1, ttl) end, function() return store:get("key") ~= nil end',
      'function(ttl) store:add("key", 1, ttl) end, function() return not store:add("key", 2) end',
      'function(ttl) store:incr("key", 1, 0, ttl) end, function() return store:incr("key", 1, 0, '
        .. '60) > 1 end',
      'function(ttl) store:set("key", 1) store:expire("key", ttl) end, function() return '
        .. '#store:keys() == 1 end',
    }
    for _, way in ipairs(ways) do
      run('store:delete("key")')
      assert.equal("string kept", run(("return watch(0.15, %s)"):format(way)), way)
    end
  end)

  it("takes a time back, with expire and with set", function()
    assert.equal("integer 1, integer 2", run([[
      store:set("a", 1, 2) store:expire("a", nil)
      store:set("b", 1, 2) store:set("b", 2)
      store:set("c", 1, 2)
      while store:get("c") do tw.sleep(0.002) end
      return store:get("a"), store:get("b")]]))
  end)

  it("is full at its max_bytes, and keeps its values", function()
    assert.equal("boolean true, nil nil, string full, string old", run([[
      local small = tw.shared("small", { max_bytes = "64K" })
      local ok = small:set("key", "old")
      local result, problem = small:set("key", ("x"):rep(65536))
      return ok, result, problem, small:get("key")]]))
    assert.equal("nil nil, string full, nil nil, string full, nil nil, integer 1, "
      .. "boolean true", run([[
      local small, n = tw.shared("small"), 0
      while small:set("fill " .. n, n) do n = n + 1 end
      local added, no_add = small:add("one more", 1)
      local sum, no_sum = small:incr("one more")
      return added, no_add, sum, no_sum, small:get("one more"), small:incr("fill 0"),
        n > 200 and n < 800]]))
    assert.equal("boolean true, boolean true", run([[
      local small = tw.shared("small")
      return small:delete("fill 0"), small:set("fill 0", 0)]]))
  end)

  it("reuses the memory of expired values by itself", function()
    assert.equal("boolean true", run([[
      local small, n = tw.shared("passing", { max_bytes = "64K" }), 0
      while small:set("fill " .. n, n, 60) do n = n + 1 end
      for i = 0, n - 1 do small:expire("fill " .. i, 0.01) end
      tw.sleep(0.02)
      for i = 1, n do assert(small:set("new " .. i, i)) end
      return #small:keys() == n]]))
  end)

  it("frees the memory of expired values without any access", function()
    local before = app.process:rss_kib()
    run([[local text = ("x"):rep(2 << 20)
      for i = 1, 30 do assert(store:set("large " .. i, text, 0.5)) end]])
    run("collectgarbage() collectgarbage()")
    ada:close()
    if not app.process:is_sanitized() then
      assert.truthy(loop.wait_until(function()
        return app.process:rss_kib() < before + 20 * 1024
      end))
    end
  end)

  it("throws for misuse with file and line", function()
    assert.equal("boolean false, string chunk:1: store:get: a key must be a string, got 5; "
      .. "use tostring",
      (ada:ask("store:get(5)")))
    assert.equal("boolean false, string chunk:1: tw.shared: a name is needed, got nil",
      (ada:ask("tw.shared()")))
  end)

  -- Each runs on its own, when the hook waits; never inside a call of the store.
  it("lets finalizers use it", function()
    assert.equal("integer 1000, boolean true", run([[
      for i = 1, 1000 do
        setmetatable({}, { __gc = function() store:incr("collected") store:get("text") end })
      end
      store:set("text", ("x"):rep(100000))
      collectgarbage("generational")
      local count = 0
      while (store:get("collected") or 0) < 1000 do
        assert(#store:get("text") == 100000)
        count = count + 1
        if count == 1000 then collectgarbage() end
        tw.sleep(0)
        assert(count < 10000)
      end
      return store:get("collected"), #store:keys() == 2]]))
  end)
end)

describe("tw.keep", function()
  it("is one table for all connections and modules of a worker, made once", function()
    local app <close> = server.start({ app = APP, files = { ["other.lua"] = OTHER } })
    for worker = 0, app.workers - 1 do
      local ada, bob = app:connect_on(worker), app:connect_on(worker)
      assert.equal("boolean true, integer 7", (ada:ask('return tw.keep("scores", {}).ada')))
      assert.equal("boolean true, boolean true",
        (ada:ask('return tw.keep("scores") == other.scores')))
      ada:ask('tw.keep("scores").ada = 8')
      assert.equal("boolean true, integer 8", (bob:ask('return other.scores.ada')))
    end
  end)
end)
