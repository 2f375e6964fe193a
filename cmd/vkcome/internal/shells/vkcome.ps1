# PowerShell completion for vkcome. Add it to $PROFILE, or load it with: vkcome completion powershell | Out-String | Invoke-Expression

Register-ArgumentCompleter -Native -CommandName 'vkcome', 'vkcome.exe' -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)

    # The words that end before the cursor; the one that it stands in is completed.
    $words = @()
    $current = ''
    foreach ($element in $commandAst.CommandElements) {
        if ($element.Extent.StartOffset -ge $cursorPosition) { break }
        $text = $element.Extent.Text
        if ($element -is [System.Management.Automation.Language.StringConstantExpressionAst]) { $text = $element.Value }
        if ($element.Extent.EndOffset -lt $cursorPosition) { $words += $text } else { $current = $text }
    }
    if ($words.Count -eq 0) { return }
    $program = $words[0]
    $before = @($words | Select-Object -Skip 1)
    $answer = @(& $program __complete @before ":$current" 2>$null)
    if ($answer.Count -eq 0) { return }
    $paths = $answer[0]
    $found = @()
    foreach ($line in ($answer | Select-Object -Skip 1)) {
        $word, $means = $line -split "`t", 2
        if (-not $means) { $means = $word }
        $found += [System.Management.Automation.CompletionResult]::new($word, $word, 'ParameterValue', $means)
    }
    if ($paths -ne 'none') {
        # Behind --flag= the path alone is completed, and what stands before it stays.
        $lead = ''
        $path = $current
        if ($current -match '^(--[^=]*=)(.*)$') { $lead = $Matches[1]; $path = $Matches[2] }
        foreach ($one in [System.Management.Automation.CompletionCompleters]::CompleteFilename($path)) {
            if ($paths -eq 'folders' -and $one.ResultType -ne 'ProviderContainer') { continue }
            $found += [System.Management.Automation.CompletionResult]::new($lead + $one.CompletionText, $one.ListItemText, $one.ResultType, $one.ToolTip)
        }
    } elseif ($found.Count -eq 0) {
        return '' # without a result PowerShell would offer files
    }
    $found
}
