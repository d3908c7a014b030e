-- suggest_spec.lua -- the name a person probably meant.

local suggest = require "tidewire.base.suggest"

local names = {
  "ping_period", "pong_period", "max_backlog", "handle_message", "on_start", "on_close",
  "codec", "name",
}

describe("the distance of two names", function()
  it("counts insertions, deletions, replacements and swaps", function()
    for _, case in ipairs {
      { "codec", "codec", 0 }, { "codec", "codecs", 1 }, { "codec", "code", 1 },
      { "codec", "coded", 1 }, { "codec", "cdoec", 1 }, { "", "abc", 3 }, { "abc", "", 3 },
      { "abcd", "badc", 2 }, { "", "", 0 },
    } do
      assert.equal(case[3], suggest.distance(case[1], case[2]), case[1] .. " " .. case[2])
    end
  end)
end)

describe("the nearest name", function()
  it("is found for a slip of the finger", function()
    for wrong, right in pairs {
      ping_perod = "ping_period", png_period = "ping_period", pong_preiod = "pong_period",
      max_backlgo = "max_backlog", on_strat = "on_start", onstart = "on_start",
      ["on-close"] = "on_close", pingPeriod = "ping_period", handle_mesage = "handle_message",
      CODEC = "codec", nmae = "name",
    } do
      assert.equal(right, suggest.nearest(wrong, names))
    end
  end)

  it("is not found for another word", function()
    for _, word in ipairs { "colour", "x", "", "on", "timeout", ("x"):rep(1000), 7, true } do
      assert.is_nil(suggest.nearest(word, names))
    end
  end)

  it("is the first in the alphabet of two as near", function()
    assert.equal("bat", suggest.nearest("hat", { "cat", "bat" }))
    assert.equal("bat", suggest.nearest("hat", { "bat", "cat" }))
  end)

  it("reads as a question, or as nothing", function()
    assert.equal('; did you mean "codec"?', suggest.hint("codek", names))
    assert.equal("", suggest.hint("colour", names))
  end)
end)
