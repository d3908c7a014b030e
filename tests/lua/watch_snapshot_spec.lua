-- watch_snapshot_spec.lua -- tidewire.watch.snapshot; tests/server/watch_files_spec.lua has what a
-- user of --watch relies on.

local process = require "support.process"
local snapshot = require "tidewire.watch.snapshot"

describe("tidewire.watch.snapshot", function()
  local folder

  before_each(function() folder = process.make_directory() end)
  after_each(function() process.remove_directory(folder) end)

  it("has all scripts of a large folder", function()
    for number = 1, 600 do process.write_file(("%s/m%d.lua"):format(folder, number), "") end
    process.write_file(folder .. "/m1.txt", "")
    local files = snapshot.take(folder .. "/m1.lua")
    local count = 0
    for path, state in pairs(files.states) do
      assert.is_truthy(path:find("%.lua$") and state)
      count = count + 1
    end
    assert.equal(600, count)
  end)

  it("takes no memory for good, whether the folder is there or not", function()
    local sources = folder .. "/app.lua\n" .. folder .. "/none/part.lua"
    local function memory_after(times)
      for _ = 1, times do snapshot.take(sources) end
      collectgarbage()
      collectgarbage()
      return collectgarbage "count"
    end
    local before = memory_after(100)
    assert.is_true(memory_after(2000) - before < 200) -- KiB
  end)
end)
