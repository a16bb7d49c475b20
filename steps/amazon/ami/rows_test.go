package ami_test

// What Packer's amazon builders handle or get wrong, what touchdown promises of
// instances, volumes, images and key pairs, and the test that holds it. Tests
// without a package are of this one.
//
//	throttling                          TestFaultAtEveryCallOfAWS, TestThrottledPollsGoOn, amazon.TestThrottledCallsAreMadeAgain
//	reads that lag                      TestWhatWasJustMadeMayNotBeSeenAtFirst, image.TestNewImagesMayBeUnknownForSomeReads
//	writes that lag, IAM, "not in state" TestWhatWasJustMadeMayNotBeKnownToCallsThatChangeIt
//	no default VPC                      TestNoDefaultVPCIsTold
//	an instance dies while pending      TestAnInstanceThatDiesWhilePendingTellsWhyOrIsStartedElsewhere
//	a denial, decoded                   amazon.TestADeniedCallNamesTheStatementThatIsMissing, amazon.TestADenialSaysWhatStatementIsMissing
//	credits, metadata, spot, tags       launch.TestTheCallSaysWhatTheTemplateSays, TestTheBuildMachineIsAsSafeAsItCanBe
//	types that a zone does not offer    launch.TestTriesGoThroughAllZonesOfATypeBeforeTheNextAndSpotBeforeOnDemand
//	volumes that outlive the instance   launch.TestDevicesOfABuildMachineGoWithIt
//	copies, keys, encryption            image.TestEachCopyHasItsKeyAndItsWords, image.TestAnImageUnderAWSsOwnKeyIsNotSharedAndWhyIsTold
//	user data                           launch.TestUserDataIsMergedWithBakesOwn, launch.TestUserDataIsCompressedWhenItMustAndRefusedWhenItDoesNotFit
//	images that fail or take too long   TestWhatAWSFailsToMakeIsToldRemovedAndMadeByTheNextRun, TestAnImageThatTakesTooLongIsNamedAndFoundByTheResume,
//	                                    TestAnImageThatFailedAfterACrashIsNotCountedAndTheNextRunMakesItAnew, image.TestACopyThatComesToNothingTellsWhyAndIsMadeByTheNextRun
//	a KMS key that cannot be used       TestAKMSKeyThatIsDisabledMeanwhileIsToldByWhatFails, image.TestAKeyThatCannotBeUsedIsToldBeforeAnythingIsCopied
//	no capacity                         TestATypeWithoutCapacityFallsToTheNext, TestNoCapacityAnywhereTellsEachTry
//	billing products                    image.TestWhatTheMarketplaceBillsForKeepsItsCodeAndStaysInItsAccount
//	other accounts' images              TestAnotherAccountsImageOfTheNameAndTagsIsNobodysBusiness
//	a wrong clock                       TestAWrongClockIsSuspectedAtOnce
//	killed, faulty, at every call       TestKilledAtEveryCallOfAWS, TestFaultAtEveryCallOfAWS, TestCrashAtEveryWriteOfTheJournal, builder.TestCrashInARelease
//	SSH: dead peers, exit status, auth  ssh.TestAHalfOpenConnectionNeverHangs, ssh.TestAnErrorWithoutExitStatusIsNotSuccess, ssh.TestLogins
//	volumes                             volume.TestAVolumeIsMadeOnceAndChangedInPlace, launch.TestVolumesAreHeldAgainstTheLimitsOfTheirType, TestAnExtraVolumeIsKept
//	key pairs                           keypair.TestAKeyPairIsImportedOnceAndReplacedWhenItsMaterialDiffers, keypair.TestFingerprintsAreThoseThatEC2Shows
//	names, permissions, destroying      image.TestValidateTellsWhatAWSWouldRefuse, image.TestWhatIsTakenOutOfTheTemplateIsRemoved, image.TestDestroyTellsWhatUsesAnImageAndHonoursItsProtection
//	source image                        TestTheNewestImageThatCanBeUsedIsChosen, TestASearchAsksForWhatCanBeUsed
