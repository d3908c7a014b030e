-- shared_cluster_spec.lua -- stores of tw.shared in a cluster: what the link is asked, values as
-- bytes and back, and what a script gets where Redis cannot be asked. A fake answers for Redis;
-- tests/server/cluster_shared_spec.lua has a real one.

local fake_core = require "support.fake_core"

local world, tw
local asked -- texts of the last request
local answers -- texts of the next answers; or { false, problem }

local function pack(texts)
  local parts = {}
  for i, text in ipairs(texts) do
    local head, rest = "", #text
    while rest >= 0x80 do
      head, rest = head .. string.char(rest % 0x80 + 0x80), rest // 0x80
    end
    parts[i] = head .. string.char(rest) .. text
  end
  return table.concat(parts)
end

local function unpack_texts(bytes)
  local texts, at = {}, 1
  while at <= #bytes do
    local length, factor = 0, 1
    repeat
      local byte = bytes:byte(at)
      length, factor, at = length + byte % 0x80 * factor, factor * 0x80, at + 1
    until byte < 0x80
    texts[#texts + 1], at = bytes:sub(at, at + length - 1), at + length
  end
  return texts
end

before_each(function()
  world = fake_core:install()
  answers = {}
  package.preload["tidewire.cluster"] = function()
    return {
      request = function(kind, body)
        assert.equal("shared", kind)
        asked = unpack_texts(body)
        local answer = table.remove(answers, 1) or { "ok" }
        if not answer[1] then return answer[2], answer[3] or "" end
        return "ok", pack(answer)
      end,
    }
  end
  package.loaded["tidewire.cluster"] = nil
  world.core.has_cluster = function() return true end
  world.core.shared_open = function() return 1, 1 end
  tw = require "tidewire"
end)

after_each(function()
  package.preload["tidewire.cluster"] = nil
  package.loaded["tidewire.cluster"] = nil
  world:uninstall()
end)

--- f() in a task, which can wait. Returns its results.
local function run(f)
  local results
  world:run(function() results = table.pack(pcall(f)) end)
  world:advance(1) -- update waits where another machine was faster
  assert(results, "it has not ended")
  assert.is_true(results[1], tostring(results[2]))
  return table.unpack(results, 2, results.n)
end

describe("a store of the cluster", function()
  local store

  before_each(function() store = tw.shared("scores", { cluster = true, max_bytes = 5000 }) end)

  it("is another one than that of the process", function()
    assert.equal(store, tw.shared("scores", { cluster = true }))
    assert.not_equal(store, tw.shared("scores"))
    assert.equal(tw.shared("scores"), tw.shared("scores", { cluster = false }))
    local ok, problem = pcall(tw.shared, "scores", { cluster = "yes" })
    assert.is_false(ok)
    assert.matches("cluster must be true or false, got", problem)
  end)

  it("gives values back as they were", function()
    for _, value in ipairs {
      0, -1, math.maxinteger, math.mininteger, 9007199254740993, 0.1, -0.0, math.huge, "", "1",
      "\0\xff", ("x"):rep(100000), true, false,
    } do
      assert.is_true(run(function() return store:set("key", value, 1.0005) end))
      assert.same({ "scores", "set", "key" }, { asked[1], asked[2], asked[3] })
      assert.same({ "5000", "1001" }, { asked[5], asked[6] })
      answers[1] = { "ok", asked[4] }
      local got = run(function() return store:get("key") end)
      assert.equal(value, got)
      assert.equal(math.type(value), math.type(got))
    end
    answers[1] = { "ok" }
    assert.is_nil(run(function() return store:get("key") end))
  end)

  it("gives the results of the other stores", function()
    answers = { { "full" }, { "no" }, { "full" }, { "ok", "7" }, { "no" }, { "ok" }, { "no" } }
    assert.same({ nil, "full", false, nil, "full" }, { run(function()
      local _, full = store:set("a", 1)
      local no = store:add("a", 1)
      local _, full_too = store:incr("a")
      return nil, full, no, nil, full_too
    end) })
    assert.same({ 7, false, true, false }, { run(function()
      return store:incr("a", 2, 5), store:delete("a"), store:expire("a", 1), store:expire("b")
    end) })
    assert.is_true(run(function() return store:set("a", nil) end))
    assert.equal("delete", asked[2])
  end)

  it("throws for what is no number", function()
    answers = { { "no number" }, { "overflow" } }
    for _, expected in ipairs { "the key \"a\" holds no number", "would grow beyond 64 bits" } do
      local ok, problem = run(function() return pcall(store.incr, store, "a") end)
      assert.is_false(ok)
      assert.matches(expected, problem)
    end
  end)

  it("calls the function of update again where another machine was faster", function()
    answers = { { "ok", "1" }, { "no" }, { "ok", "2" }, { "ok" } }
    assert.equal(3, run(function() return store:update("a", function(n) return n + 1 end) end))
    assert.same({ "2", "3" }, { asked[4], asked[5] })
  end)

  it("reads a large store part by part, each key once", function()
    answers = { { "ok", "12", "a", "1", "b", "sx" }, { "ok", "0", "b", "sx", "c", "t" } }
    assert.same({ a = 1, b = "x", c = true }, run(function() return store:entries() end))
    answers = { { "ok", "12", "a", "b" }, { "ok", "0", "b", "c" } }
    assert.same({ "a", "b", "c" }, run(function() return store:keys() end))
    answers = { { "ok", "12", "a", "b" } }
    assert.same({ "a" }, run(function() return store:keys(1) end))
  end)

  it("says where Redis cannot be asked, and keeps nothing", function()
    local calls = {
      function() return store:get("a") end,
      function() return store:set("a", 1) end,
      function() return store:set("a", nil) end,
      function() return store:add("a", 1) end,
      function() return store:incr("a") end,
      function() return store:delete("a") end,
      function() return store:expire("a", 1) end,
      function() return store:keys() end,
      function() return store:entries() end,
      function() return store:update("a", function() error("called") end) end,
    }
    for _, call in ipairs(calls) do
      for problem, answer in pairs {
        ["cluster is unreachable"] = { false, "unreachable" },
        ["cluster timed out"] = { false, "timeout" },
        ["cluster refused: OOM"] = { false, "refused", "OOM" },
      } do
        answers = { answer }
        assert.same({ n = 2, nil, problem }, table.pack(run(call)))
      end
    end
  end)

  it("throws where there is no cluster", function()
    world.core.has_cluster = function() return false end
    local ok, problem = run(function() return pcall(store.get, store, "a") end)
    assert.is_false(ok)
    assert.matches("store:get: the store is the cluster's, and this server is in none", problem)
  end)

  it("throws where nothing can wait, and for too long values", function()
    local ok, problem = pcall(store.get, store, "a")
    assert.is_false(ok)
    assert.matches("store:get: nothing here can wait", problem)
    ok, problem = pcall(store.set, store, "a", ("x"):rep((1 << 23) + 1))
    assert.is_false(ok)
    assert.matches("the value has 8388609 bytes; at most 8388608 are possible in a store of the "
      .. "cluster", problem)
  end)
end)
