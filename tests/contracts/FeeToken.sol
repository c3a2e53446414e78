// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";

/// Takes one percent of each transfer: the recipient gets less than the calldata says.
contract FeeToken is ERC20 {
    address private constant COLLECTOR = address(0xfee);

    constructor() ERC20("Fee", "FEE") {}

    function mint(address to, uint256 amount) external {
        _mint(to, amount);
    }

    function _update(address from, address to, uint256 amount) internal override {
        if (from == address(0) || to == address(0)) {
            super._update(from, to, amount);
            return;
        }
        uint256 fee = amount / 100;
        super._update(from, COLLECTOR, fee);
        super._update(from, to, amount - fee);
    }
}
